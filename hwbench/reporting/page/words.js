// Small things that all panels use: elements, numbers, intervals in words.

function element(name, attributes = {}, ...children) {
  const svg = SVG_NAMES.has(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const SVG_NAMES = new Set(["svg", "g", "path", "line", "rect", "circle", "text", "title"]);

function number(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(Math.max(digits - 1 - size, 0), 6));
}

function perCent(fraction, digits = 1) {
  return `${(100 * fraction).toFixed(digits)} %`;
}

// A time in microseconds where what it is part of is below a millisecond.
function timeWords(ms, of) {
  return of < 1 ? `${number(1000 * ms)} µs` : `${number(ms)} ms`;
}

function latencyWords(device, ms) {
  if (!Number.isFinite(ms)) return "not known: the table lacks a block";
  const factor = latencyFactor(device);
  const origin = device.origin === "modelled" ? "modelled" : "predicted";
  if (factor === null) return `${number(ms)} ms ${origin}, not validated`;
  return `${number(ms)} ms ${origin} (${number(ms * (1 - factor))} to ${number(ms * (1 + factor))}, 95 of 100)`;
}

function accuracyWords(space, index) {
  const value = perCent(space.accuracy[index]);
  if (index >= space.measured) {
    const error = space.error === null ? "" : `, typically ${perCent(space.error)} off`;
    return `${value} predicted${error}`;
  }
  const interval = accuracyInterval(space, index);
  if (!interval) return `${value} measured`;
  return `${value} measured (${(100 * interval[0]).toFixed(1)} to ${perCent(interval[1])}, 95 of 100)`;
}

// Round numbers for an axis.
function ticks(low, high, log, most = 7) {
  if (log) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const digit of high / low > 60 ? [1, 3] : high / low > 4 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]) {
        const value = digit * 10 ** power;
        if (value >= low * 0.9999 && value <= high * 1.0001) found.push(value);
      }
    }
    return found;
  }
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(value);
  return found;
}

function tickText(value) {
  return String(Number(value.toPrecision(4)));
}

const MARKERS = [
  "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
  "M-3.6 -3.6H3.6V3.6H-3.6Z",
  "M0 -4.8L4.5 3.6H-4.5Z",
  "M0 -5L5 0L0 5L-5 0Z",
  "M0 4.8L4.5 -3.6H-4.5Z",
  "M-1.6 -4.6H1.6V-1.6H4.6V1.6H1.6V4.6H-1.6V1.6H-4.6V-1.6H-1.6Z",
  "M-4.6 -2.4L-2.4 -4.6L0 -2.2L2.4 -4.6L4.6 -2.4L2.2 0L4.6 2.4L2.4 4.6L0 2.2L-2.4 4.6L-4.6 2.4L-2.2 0Z",
  "M0 -5.4L1.6 -1.8H5.4L2.4 0.8L3.4 4.8L0 2.4L-3.4 4.8L-2.4 0.8L-5.4 -1.8H-1.6Z",
];

function marker(device, size = 16) {
  return element(
    "svg",
    { viewBox: "-8 -8 16 16", width: size, height: size, class: "marker", "aria-hidden": "true" },
    element("path", { d: MARKERS[device % MARKERS.length] }),
  );
}

function commandBox(text, note) {
  const code = element("code", {}, text);
  const status = element("span", { role: "status", class: "copied" });
  const copy = element("button", {
    type: "button",
    class: "copy",
    onclick: async () => {
      try {
        await navigator.clipboard.writeText(text);
        status.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(code);
        status.textContent = "selected: copy it now";
      }
    },
  }, "Copy the command");
  return element(
    "div",
    { class: "command" },
    element("pre", { tabindex: 0, "aria-label": "command that specialises this subnet" }, code),
    element("div", { class: "row" }, copy, status),
    note ? element("p", { class: "note" }, note) : null,
  );
}
