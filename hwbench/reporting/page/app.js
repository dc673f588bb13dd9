// One page: each group of tables has controls and panels of its own.

function startGroup(group) {
  const root = document.getElementById(group.id);
  const find = (name) => root.querySelector(`[data-panel="${name}"]`);
  group.devices.forEach((device, d) => {
    const host = root.querySelector(`[data-scatter="${d}"]`);
    if (host) trustPicture(device, host);
  });
  heatPanel(group, find("heat"));
  if (!group.spaces.length) return;
  prepare(group);
  const ranges = group.devices.map((_, d) => range(group, d)).filter(([least]) => Number.isFinite(least));
  const low = Math.min(...ranges.map(([least]) => least));
  const high = Math.max(...ranges.map(([, most]) => most));
  const state = {
    axis: "latency",
    log: ranges.length > 1 && high / low > 12,
    limit: ranges.length ? beginning(ranges) : 1,
    sure: false,
    predicted: group.spaces.every((space) => !space.measured),
    devices: new Set(group.devices.keys()),
    spaces: new Set(group.spaces.keys()),
    pick: null,
  };
  const picked = (pick) => {
    state.pick = pick;
    chosenPanel(group, state, find("chosen"));
    bestCards(group, state, find("best"), picked);
    chart.mark();
  };
  const chart = new FrontierChart(group, state, find("chart"), picked);
  const update = () => {
    bestCards(group, state, find("best"), picked);
    chart.draw();
  };
  controls(group, state, root, low, high, update);
  const first = group.devices.map((_, d) => best(group, d, state.limit, state)).find((found) => found);
  picked(first || null);
}

// The tightest round limit that every device can meet with some room: it cuts something off on the slowest.
function beginning(ranges) {
  return Number(number(Math.max(...ranges.map(([least, most]) => least * (most / least) ** 0.3)), 2));
}

function controls(group, state, root, low, high, update) {
  const inputs = (name) => root.querySelectorAll(`[name="${group.id}-${name}"]`);
  const log = inputs("log")[0];
  log.checked = state.log;
  log.addEventListener("change", () => { state.log = log.checked; update(); });
  for (const input of inputs("axis")) {
    input.addEventListener("change", () => { state.axis = input.value; update(); });
  }
  for (const name of ["devices", "spaces"]) {
    for (const input of inputs(name)) {
      input.addEventListener("change", () => {
        state[name][input.checked ? "add" : "delete"](Number(input.value));
        update();
      });
    }
  }
  for (const name of ["sure", "predicted"]) {
    const [input] = inputs(name);
    input.checked = state[name];
    input.addEventListener("change", () => { state[name] = input.checked; update(); });
  }
  const [slider] = inputs("slider");
  const [field] = inputs("limit");
  const place = (ms) => Math.round((1000 * Math.log(ms / low)) / Math.log(high / low));
  const show = (moved) => {
    if (moved !== slider) slider.value = place(state.limit);
    if (moved !== field) field.value = number(state.limit);
    slider.setAttribute("aria-valuetext", `${number(state.limit)} ms`);
    update();
  };
  slider.addEventListener("input", () => { state.limit = low * (high / low) ** (slider.value / 1000); show(slider); });
  field.addEventListener("input", () => {
    if (!(Number(field.value) > 0)) return;
    state.limit = Number(field.value);
    show(field);
  });
  slider.value = place(state.limit);
  field.value = number(state.limit);
  slider.setAttribute("aria-valuetext", `${number(state.limit)} ms`);
}

for (const script of document.querySelectorAll('script[type="application/json"]')) startGroup(JSON.parse(script.textContent));
document.documentElement.dataset.ready = "yes";
