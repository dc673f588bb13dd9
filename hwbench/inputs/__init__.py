"""What commands and functions are given: costs, accuracies, spaces, and what is to be trusted of them."""
