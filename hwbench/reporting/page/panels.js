// The panels around the chart: best subnets within the limit, the chosen subnet, heat maps, predicted against measured.

function bestCards(group, state, host, picked) {
  host.replaceChildren(...group.devices.map((device, d) => {
    if (!state.devices.has(d)) return null;
    const found = best(group, d, state.limit, state);
    const title = element("h4", {}, marker(d), ` ${device.name}`);
    if (!found) {
      const [least] = range(group, d);
      const why = Number.isFinite(least)
        ? `No subnet is within ${number(state.limit)} ms${state.sure ? " with its whole interval" : ""}: the fastest takes ${number(least)} ms.`
        : "The table knows no subnet that is shown here.";
      return element("article", { class: "card" }, title, element("p", {}, why));
    }
    const space = group.spaces[found.space];
    const chosen = state.pick && state.pick.space === found.space && state.pick.index === found.index && state.pick.device === d;
    return element(
      "article",
      { class: chosen ? "card chosen" : "card" },
      title,
      element("p", { class: "big" }, perCent(found.accuracy), element("small", {}, ` at ${number(found.ms)} ms`)),
      element("p", {}, element("span", { class: `name s${found.space % 4}` }, space.name), " ", element("code", { class: "arch" }, space.archs[found.index])),
      element("p", { class: "note" }, `accuracy ${accuracyWords(space, found.index)}; latency ${latencyWords(device, found.ms)}`),
      element("button", { type: "button", onclick: () => picked(found) }, "Choose this subnet"),
    );
  }).filter((card) => card));
}

// --- the chosen subnet ---

function chosenPanel(group, state, host) {
  const pick = state.pick;
  if (!pick) return host.replaceChildren(element("p", {}, "Choose a subnet above."));
  const space = group.spaces[pick.space];
  const device = group.devices[pick.device];
  const facts = [
    ["space", space.name],
    ["accuracy", accuracyWords(space, pick.index)],
    ...group.devices.map((d, i) => [`latency on ${d.name}`, latencyWords(d, space.costs.latency[i][pick.index])]),
    ["multiply-accumulates", `${number(space.costs.macs[pick.index])} M`],
    ["parameters", `${number(space.costs.params[pick.index])} M`],
    ["activations held at once", `${number(space.costs.memory[pick.index])} MB (${group.precision}, batch ${group.batch})`],
  ];
  const lacking = space.supernet ? null :
    `The accuracies name ${space.origin}, but its file was not given: put its path in the place of SUPERNET.safetensors, or make the report with --supernet FILE.`;
  return host.replaceChildren(
    element("p", {}, element("code", { class: "arch" }, space.archs[pick.index])),
    element("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    element("h4", {}, `The command that specialises it for ${device.name}`),
    commandBox(command(group, pick), lacking),
    element("h4", {}, "Where the time goes"),
    breakdown(group, pick),
  );
}

function breakdown(group, pick) {
  const space = group.spaces[pick.space];
  const row = [...space.rows.subarray(pick.index * space.columns, (pick.index + 1) * space.columns)].filter((part) => part);
  const parts = row.map((number) => group.parts[number - 1]);
  const totals = group.devices.map((_, d) => space.costs.latency[d][pick.index]);
  const most = group.devices.map((d) => Math.max(...row.map((number) => d.part_ms[number - 1] || 0), d.call_ms));
  const cell = (d, ms) => {
    if (ms === null) return element("td", {}, "–");
    const bar = element("span", { class: "bar" });
    bar.style.width = `${Math.max(0, (90 * ms) / most[d])}%`;
    return element("td", { class: "time" }, bar, element("span", {}, `${timeWords(ms, totals[d])}, ${perCent(ms / totals[d], 0)}`));
  };
  const body = element("tbody");
  let place = "";
  for (const [i, part] of parts.entries()) {
    const name = part.place === place ? "" : part.place;
    place = part.place;
    body.append(element("tr", { class: name ? "begins" : null }, element("th", { scope: "row" }, name || element("span", { class: "hidden" }, place)),
      element("td", {}, element("abbr", { title: part.block }, part.choice)), ...group.devices.map((d, k) => cell(k, d.part_ms[row[i] - 1]))));
  }
  if (group.devices.some((d) => d.call_ms)) {
    body.append(element("tr", { class: "begins" }, element("th", { scope: "row" }, "each run"), element("td", {}, "call"), ...group.devices.map((d, k) => cell(k, d.call_ms))));
  }
  const head = element("tr", {}, element("th", { scope: "col" }, "place"), element("th", { scope: "col" }, "block"),
    ...group.devices.map((d, k) => element("th", { scope: "col" }, `${d.name}: ${number(totals[k])} ms`)));
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "time by block" },
    element("table", { class: "breakdown" }, element("thead", {}, head), body));
}

// --- heat maps ---

function mix(share) {
  const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const [from, to] = [RAMP[Math.floor(at)], RAMP[Math.ceil(at)]];
  const channel = (colour, i) => parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
  return [0, 1, 2].map((i) => Math.round(channel(from, i) + (at - Math.floor(at)) * (channel(to, i) - channel(from, i))));
}

function readable(rgb) {
  const linear = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? "#000000" : "#ffffff";
}

function heatPanel(group, host) {
  const select = (label, options) => {
    const made = element("select", { onchange: () => draw() }, ...options.map((text, i) => element("option", { value: i }, text)));
    return [made, element("label", {}, `${label} `, made)];
  };
  const [device, deviceLabel] = select("Device", group.devices.map((d) => d.name));
  const [side, sideLabel] = select("Resolution", ["all side by side", ...group.resolutions.map((r) => `${r} px`)]);
  if (group.resolutions.length > 6) side.value = group.resolutions.length;
  const body = element("div", { class: "heats" });
  const scale = element("p", { class: "scale" });
  host.replaceChildren(element("div", { class: "controls" }, deviceLabel, sideLabel), scale, body);

  function draw() {
    const ms = group.devices[device.value].part_ms;
    const columns = side.value === "0" ? group.resolutions.map((_, i) => i) : [Number(side.value) - 1];
    const shown = group.heat.flatMap((unit) => Object.entries(unit).filter(([name]) => name !== "unit").flatMap(([, rows]) => rows.flatMap((row) => columns.map((c) => ms[row[c] - 1]))))
      .filter((value) => value !== null && value > 0);
    const [least, most] = [Math.min(...shown), Math.max(...shown)];
    const share = (value) => (most > least ? Math.log(value / least) / Math.log(most / least) : 0);
    scale.replaceChildren(`${timeWords(least, least)} `, element("span", { class: "ramp" }), ` ${timeWords(most, least)}, on a logarithmic scale`);
    body.replaceChildren(...group.heat.map((unit) => heatTable(unit, columns, ms, share)));
  }

  function heatTable(unit, columns, ms, share) {
    const kinds = Object.keys(unit).filter((name) => name !== "unit");
    const head = [
      element("tr", {}, element("td"), ...kinds.map((kind, k) => element("th", { scope: "colgroup", colspan: columns.length, class: k ? "gap" : null }, kind))),
      element("tr", {}, element("td"), ...kinds.flatMap((_, k) => columns.map((c, n) => element("th", { scope: "col", class: k && !n ? "gap" : null }, `${group.resolutions[c]} px`)))),
    ];
    const rows = unit[kinds[0]].map((_, choice) => element("tr", {},
      element("th", { scope: "row" }, group.parts[unit[kinds[0]][choice][0] - 1].choice),
      ...kinds.flatMap((kind, k) => columns.map((c, n) => {
        const part = unit[kind][choice][c];
        const value = ms[part - 1];
        const gap = k && !n ? "gap" : null;
        if (value === null) return element("td", { class: gap }, element("span", { title: "not in the table, or it cannot run" }, "–"));
        const rgb = mix(value > 0 ? share(value) : 0);
        const made = element("td", { title: group.parts[part - 1].block, class: gap }, number(1000 * value));
        made.style.background = `rgb(${rgb})`;
        made.style.color = readable(rgb);
        return made;
      }))));
    return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${unit.unit}, microseconds by block` },
      element("table", { class: "heat" }, element("caption", {}, `${unit.unit} (µs)`), element("thead", {}, ...head), element("tbody", {}, ...rows)));
  }
  draw();
}

// --- predicted against measured ---

function trustPicture(device, host) {
  const { measured_ms: measured, raw_ms: raw, held_out_ms: held } = device.trust;
  const size = 300;
  const pad = { left: 48, right: 10, top: 10, bottom: 40 };
  const all = [...measured, ...raw, ...held];
  const [low, high] = [0.95 * Math.min(...all), 1.05 * Math.max(...all)];
  const log = high / low > 8;
  const f = log ? Math.log : (v) => v;
  const share = (v) => (f(v) - f(low)) / (f(high) - f(low));
  const x = (v) => pad.left + share(v) * (size - pad.left - pad.right);
  const y = (v) => size - pad.bottom - share(v) * (size - pad.top - pad.bottom);
  const word = device.origin === "modelled" ? "modelled" : "measured";
  const svg = element("svg", { viewBox: `0 0 ${size} ${size}`, class: "scatter", role: "img",
    "aria-label": `Predicted against ${word} latency of ${measured.length} networks on ${device.name}` });
  const axes = element("g", { class: "axes" });
  for (const value of ticks(low, high, log, 4)) {
    axes.append(element("line", { x1: x(value), x2: x(value), y1: pad.top, y2: size - pad.bottom }),
      element("line", { x1: pad.left, x2: size - pad.right, y1: y(value), y2: y(value) }),
      element("text", { x: x(value), y: size - pad.bottom + 16, "text-anchor": "middle" }, tickText(value)),
      element("text", { x: pad.left - 6, y: y(value) + 4, "text-anchor": "end" }, tickText(value)));
  }
  axes.append(element("text", { class: "title", x: (size + pad.left) / 2, y: size - 5, "text-anchor": "middle" }, `${word} latency (ms)`),
    element("text", { class: "title", x: 12, y: size / 2 - 15, "text-anchor": "middle", transform: `rotate(-90 12 ${size / 2 - 15})` }, "predicted (ms)"));
  let band = "";
  for (const [factor, from, to] of [[1.1, low, high / 1.1], [0.9, high, low / 0.9]]) {
    for (const v of [from, to]) band += `${band ? "L" : "M"}${x(v)} ${y(v * factor)}`;
    if (factor > 1) band += `L${x(high)} ${y(high)}`;
  }
  svg.append(element("path", { class: "band", d: `${band}L${x(low)} ${y(low)}Z` }), axes,
    element("line", { class: "identity", x1: x(low), y1: y(low), x2: x(high), y2: y(high) }));
  measured.forEach((ms, i) => {
    svg.append(element("circle", { class: "raw", cx: x(ms), cy: y(raw[i]), r: 2.6 }));
  });
  measured.forEach((ms, i) => {
    const point = element("circle", { class: "held", cx: x(ms), cy: y(held[i]), r: 3 });
    point.append(element("title", {}, `${device.trust.archs[i]}: ${number(ms, 4)} ms ${word}, ${number(held[i], 4)} ms predicted, sum of blocks ${number(raw[i], 4)} ms`));
    svg.append(point);
  });
  host.replaceChildren(svg);
}
