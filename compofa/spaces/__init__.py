"""Which networks there are to choose from: families as data, their subnets, and rules over them."""
