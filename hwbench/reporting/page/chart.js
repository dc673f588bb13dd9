// The chart of frontiers: accuracy over a cost, one colour a space, one marker a device. Points are found by pointer
// or by arrow keys; a click or Enter picks one.

const MOST_DOTS = 1500; // of a series: more make the page slow and the cloud no clearer

class FrontierChart {
  constructor(group, state, host, picked) {
    Object.assign(this, { group, state, picked, cursor: null });
    this.tip = element("div", { class: "tip", hidden: true });
    this.live = element("div", { class: "hidden", "aria-live": "polite" });
    this.box = element("div", {
      class: "chart",
      tabindex: 0,
      role: "application",
      "aria-label": `Frontiers of ${group.name}. Left and right arrows move along a frontier, up and down arrows change it, Enter picks the subnet.`,
      onpointermove: (event) => this.hover(event),
      onpointerleave: () => this.show(null),
      onclick: (event) => this.click(event),
      onkeydown: (event) => this.key(event),
      onblur: () => this.show(null),
    });
    host.append(this.box, this.tip, this.live);
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  // One line a space and device; only a space where the axis does not depend on the device.
  series() {
    const { group, state } = this;
    const devices = state.axis === "latency" ? [...state.devices].sort() : [Math.min(...state.devices)];
    const found = [];
    for (const device of devices) {
      for (const s of [...state.spaces].sort()) {
        const space = group.spaces[s];
        const xs = costs(space, state.axis, device);
        const measured = frontier(xs, space.accuracy, 0, space.measured);
        const searched = frontier(xs, space.accuracy, space.measured, xs.length);
        found.push({ device, space: s, xs, ys: space.accuracy, measured, searched });
      }
    }
    return found.filter((one) => one.measured.length || one.searched.length);
  }

  scales(series) {
    const { state } = this;
    const width = this.box.clientWidth;
    const height = Math.round(Math.min(Math.max(0.58 * width, 280), 480));
    const pad = { left: 52, right: 14, top: 12, bottom: 44 };
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const one of series) {
      for (const i of one.measured.concat(one.searched)) {
        left = Math.min(left, one.xs[i]);
        right = Math.max(right, one.xs[i]);
        low = Math.min(low, one.ys[i]);
        high = Math.max(high, one.ys[i]);
      }
    }
    const log = state.log;
    const room = log ? (right / left) ** 0.04 : 0.04 * (right - left) || 0.1 * right;
    [left, right] = log ? [left / room, right * room] : [left - room, right + room];
    const gap = 0.06 * (high - low) || 0.01;
    [low, high] = [low - gap, high + gap];
    const f = log ? Math.log : (v) => v;
    const x = (v) => pad.left + ((f(v) - f(left)) / (f(right) - f(left))) * (width - pad.left - pad.right);
    const y = (v) => height - pad.bottom - ((v - low) / (high - low)) * (height - pad.top - pad.bottom);
    return { width, height, pad, left, right, low, high, x, y, log };
  }

  draw() {
    if (!this.box.clientWidth) return;
    const series = this.series();
    this.box.replaceChildren();
    if (!series.length) {
      this.box.append(element("p", {}, "Nothing to show: choose a device and a space."));
      this.drawn = null;
      return;
    }
    const at = this.scales(series);
    const svg = element("svg", { width: at.width, height: at.height, "aria-hidden": "true" });
    svg.append(this.axes(at), ...series.map((one) => this.cloud(one, at)));
    if (this.state.axis === "latency") svg.append(this.limitLine(at));
    svg.append(...series.map((one) => this.lines(one, at)));
    if (this.state.axis === "latency" && this.state.devices.size > 1 && at.width > 600) svg.append(this.deviceNames(series, at));
    this.ring = element("g");
    svg.append(this.ring);
    this.box.append(svg);
    this.drawn = { series, at };
    this.mark();
  }

  axes(at) {
    const made = element("g", { class: "axes" });
    const bottom = at.height - at.pad.bottom;
    let last = -Infinity;
    for (const value of ticks(at.left, at.right, at.log, Math.max(3, at.width / 110))) {
      const x = at.x(value);
      made.append(element("line", { x1: x, x2: x, y1: at.pad.top, y2: bottom }));
      if (x - last < 38) continue;
      last = x;
      made.append(element("text", { x, y: bottom + 17, "text-anchor": "middle" }, tickText(value)));
    }
    for (const value of ticks(100 * at.low, 100 * at.high, false)) {
      const y = at.y(value / 100);
      made.append(element("line", { x1: at.pad.left, x2: at.width - at.pad.right, y1: y, y2: y }));
      made.append(element("text", { x: at.pad.left - 7, y: y + 4, "text-anchor": "end" }, tickText(value)));
    }
    const middle = (at.pad.left + at.width - at.pad.right) / 2;
    made.append(element("text", { class: "title", x: middle, y: at.height - 6, "text-anchor": "middle" },
      AXES[this.state.axis].label + (at.log ? ", logarithmic" : "")));
    const up = (at.pad.top + bottom) / 2;
    made.append(element("text", { class: "title", x: 13, y: up, "text-anchor": "middle", transform: `rotate(-90 13 ${up})` },
      "test accuracy (%)"));
    return made;
  }

  cloud(one, at) {
    const step = Math.max(1, Math.ceil(this.group.spaces[one.space].measured / MOST_DOTS));
    let d = "";
    for (let i = 0; i < this.group.spaces[one.space].measured; i += step) {
      const [x, y] = [at.x(one.xs[i]), at.y(one.ys[i])];
      if (x >= at.pad.left && x <= at.width - at.pad.right && y <= at.height - at.pad.bottom) {
        d += `M${x.toFixed(1)} ${y.toFixed(1)}h0`;
      }
    }
    return element("path", { d, class: `dots s${one.space % 4}` });
  }

  lines(one, at) {
    const made = element("g", { class: `s${one.space % 4}` });
    for (const [points, kind] of [[one.searched, "searched"], [one.measured, "measured"]]) {
      if (!points.length) continue;
      let d = "";
      for (const i of points) d += d ? `H${at.x(one.xs[i]).toFixed(1)}V${at.y(one.ys[i]).toFixed(1)}` : `M${at.x(one.xs[i]).toFixed(1)} ${at.y(one.ys[i]).toFixed(1)}`;
      made.append(element("path", { d, class: `line ${kind}` }));
    }
    let last = [-Infinity, 0];
    for (const i of one.measured) {
      const x = at.x(one.xs[i]);
      const y = at.y(one.ys[i]);
      if (Math.hypot(x - last[0], y - last[1]) < 10) continue; // markers that hide each other tell nothing
      last = [x, y];
      const shape = MARKERS[this.state.axis === "latency" ? one.device % MARKERS.length : 0];
      made.append(element("path", { d: shape, class: "point", transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` }));
    }
    return made;
  }

  // Each device's name where its frontiers begin, one below the other where they would cover each other.
  deviceNames(series, at) {
    const made = element("g");
    const taken = [];
    for (const d of new Set(series.map((one) => one.device))) {
      const starts = series.filter((one) => one.device === d && one.measured.length)
        .map((one) => [at.x(one.xs[one.measured[0]]), at.y(one.ys[one.measured[0]])]);
      if (!starts.length) continue;
      const name = this.group.devices[d].name;
      const text = name.length > 26 ? `${name.slice(0, 25)}…` : name;
      const wide = 7 * text.length;
      let [x, y] = starts.reduce((a, b) => (a[1] > b[1] ? a : b));
      const end = x + 9 + wide > at.width - at.pad.right;
      const from = end ? x - 9 - wide : x + 9;
      const clashes = () => taken.some(([l, r, h]) => from < r && from + wide > l && Math.abs(h - y) < 15);
      for (let tries = 0; clashes() && tries < 8; tries++) y -= 15;
      taken.push([from, from + wide, y]);
      made.append(element("text", { class: "device", x: end ? x - 9 : x + 9, y: y + 4, "text-anchor": end ? "end" : "start" }, text));
    }
    return made;
  }

  limitLine(at) {
    const x = at.x(this.state.limit);
    if (!(x >= at.pad.left && x <= at.width - at.pad.right)) return element("g");
    const label = element("text", { x: x + (x > 0.8 * at.width ? -5 : 5), y: at.height - at.pad.bottom - 7,
      "text-anchor": x > 0.8 * at.width ? "end" : "start" }, `limit ${number(this.state.limit)} ms`);
    return element("g", { class: "limit" }, element("line", { x1: x, x2: x, y1: at.pad.top, y2: at.height - at.pad.bottom }), label);
  }

  // The ring around the picked subnet, on each device that is shown.
  mark() {
    if (!this.drawn) return;
    const { series, at } = this.drawn;
    const pick = this.state.pick;
    this.ring.replaceChildren();
    for (const one of series) {
      if (!pick || one.space !== pick.space || !Number.isFinite(one.xs[pick.index])) continue;
      this.ring.append(element("circle", { class: "ring", cx: at.x(one.xs[pick.index]), cy: at.y(one.ys[pick.index]), r: 9 }));
    }
    if (this.cursor) {
      const { one, index } = this.cursor;
      this.ring.append(element("circle", { class: "cursor", cx: at.x(one.xs[index]), cy: at.y(one.ys[index]), r: 7 }));
    }
  }

  // --- finding points ---

  nearest(x, y) {
    const { series, at } = this.drawn;
    let found = null;
    const look = (one, index, reach, bonus) => {
      const distance = Math.hypot(at.x(one.xs[index]) - x, at.y(one.ys[index]) - y);
      if (distance < reach && (!found || distance - bonus < found.rank)) found = { one, index, rank: distance - bonus };
    };
    for (const one of series) {
      for (const index of one.measured) look(one, index, 24, 8);
      for (const index of one.searched) look(one, index, 16, 4);
      const end = this.group.spaces[one.space].measured;
      for (let index = 0; index < end; index++) look(one, index, 8, 0);
    }
    return found;
  }

  hover(event) {
    if (!this.drawn) return;
    const box = this.box.getBoundingClientRect();
    this.show(this.nearest(event.clientX - box.left, event.clientY - box.top));
  }

  click(event) {
    this.hover(event);
    if (this.cursor) this.pick();
  }

  pick() {
    const { one, index } = this.cursor;
    this.picked({ space: one.space, index, device: one.device });
  }

  key(event) {
    if (!this.drawn) return;
    const { series } = this.drawn;
    const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (move) {
      event.preventDefault();
      let s = this.cursor ? series.indexOf(this.cursor.one) : 0;
      s = (s + move[0] + series.length) % series.length;
      const points = series[s].measured.length ? series[s].measured : series[s].searched;
      let at = this.cursor ? points.indexOf(this.cursor.index) : 0;
      if (at < 0) at = 0;
      at = Math.min(Math.max(at + (this.cursor ? move[1] : 0), 0), points.length - 1);
      this.show({ one: series[s], index: points[at] });
      this.live.textContent = this.tip.innerText;
    } else if ((event.key === "Enter" || event.key === " ") && this.cursor) {
      event.preventDefault();
      this.pick();
      this.live.textContent = "picked";
    } else if (event.key === "Escape") this.show(null);
  }

  show(cursor) {
    this.cursor = cursor;
    this.tip.hidden = !cursor;
    this.mark();
    if (!cursor || !this.drawn) return;
    const { one, index } = cursor;
    const { at } = this.drawn;
    const space = this.group.spaces[one.space];
    const device = this.group.devices[one.device];
    const cost = this.state.axis === "latency" ? latencyWords(device, one.xs[index]) : `${number(one.xs[index])} ${AXES[this.state.axis].unit} ${AXES[this.state.axis].words}`;
    this.tip.replaceChildren(
      element("strong", {}, this.state.axis === "latency" ? `${space.name} on ${device.name}` : space.name),
      element("code", {}, space.archs[index]),
      element("span", {}, `accuracy ${accuracyWords(space, index)}`),
      element("span", {}, this.state.axis === "latency" ? `latency ${cost}` : cost),
    );
    const [x, y] = [at.x(one.xs[index]), at.y(one.ys[index])];
    const wide = this.tip.offsetWidth;
    this.tip.style.left = `${Math.min(Math.max(x - wide / 2, 0), at.width - wide)}px`;
    const above = y - this.tip.offsetHeight - 14;
    this.tip.style.top = `${above > 0 ? above : y + 14}px`;
  }
}
