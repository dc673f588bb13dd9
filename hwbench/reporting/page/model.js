// Subnets and what they cost: sums (and, for memory, maxima) over the parts that a row names.

const AXES = {
  latency: { words: "latency", unit: "ms", label: "latency (ms)" },
  macs: { words: "MACs", unit: "M", label: "multiply-accumulates (M)" },
  params: { words: "parameters", unit: "M", label: "parameters (M)" },
  memory: { words: "memory", unit: "MB", label: "memory for activations (MB)" },
};

function decodeRows(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Uint16Array(bytes.buffer);
}

// Adds to each space: `rows`, and per axis the costs of its subnets; latencies are one array a device, with NaN where
// the table does not know a block.
function prepare(group) {
  const column = (read) => Float64Array.from([0, ...group.parts.map(read)]);
  const of = {
    macs: column((p) => p.macs / 1e6),
    params: column((p) => p.params / 1e6),
    memory: column((p) => p.mb),
  };
  const ms = group.devices.map((d) => Float64Array.from([0, ...d.part_ms.map((v) => (v === null ? NaN : v))]));
  for (const space of group.spaces) {
    space.rows = decodeRows(space.rows);
    const add = (values, start) => fold(space, values, start, (a, b) => a + b);
    space.costs = {
      macs: add(of.macs, 0),
      params: add(of.params, 0),
      memory: fold(space, of.memory, 0, Math.max),
      latency: ms.map((values, d) => add(values, group.devices[d].call_ms)),
    };
  }
}

function fold(space, values, start, join) {
  const { rows, columns } = space;
  const found = new Float64Array(space.archs.length).fill(start);
  for (let i = 0, at = 0; i < found.length; i++) {
    let sum = start;
    for (let c = 0; c < columns; c++, at++) sum = join(sum, values[rows[at]]);
    found[i] = sum;
  }
  return found;
}

function costs(space, axis, device) {
  return axis === "latency" ? space.costs.latency[device] : space.costs[axis];
}

// Numbers of the subnets from `from` to `to` that no other of them beats, by rising cost.
function frontier(xs, accuracy, from, to) {
  const order = [];
  for (let i = from; i < to; i++) if (Number.isFinite(xs[i])) order.push(i);
  order.sort((a, b) => xs[a] - xs[b] || accuracy[b] - accuracy[a]);
  const found = [];
  let best = -1;
  for (const i of order) {
    if (accuracy[i] > best) {
      best = accuracy[i];
      found.push(i);
    }
  }
  return found;
}

// By how much a latency may be off, as a factor: in 95 of 100 networks it is within this; null where nobody knows.
function latencyFactor(device) {
  const trusted = device.trust && !device.caution && !device.trust.distrust;
  return trusted ? device.trust.within_95_pct / 100 : null;
}

// The most accurate subnet within a latency on a device; null if there is none. `sure`: its whole interval is within.
function best(group, device, limit, { sure, predicted, spaces }) {
  const factor = sure ? 1 + (latencyFactor(group.devices[device]) || 0) : 1;
  let found = null;
  group.spaces.forEach((space, s) => {
    if (!spaces.has(s)) return;
    const ms = space.costs.latency[device];
    const end = predicted ? ms.length : space.measured;
    for (let i = 0; i < end; i++) {
      if (!(ms[i] * factor <= limit)) continue;
      const accuracy = space.accuracy[i];
      const better = !found || accuracy > found.accuracy || (accuracy === found.accuracy && ms[i] < found.ms);
      if (better) found = { space: s, index: i, device, accuracy, ms: ms[i] };
    }
  });
  return found;
}

function range(group, device) {
  let least = Infinity;
  let most = 0;
  for (const space of group.spaces) {
    for (const ms of space.costs.latency[device]) {
      if (ms < least) least = ms;
      if (ms > most) most = ms;
    }
  }
  return [least, most];
}

// 95 % interval of an accuracy that was measured on so many images (Wilson 1927); null where that is not known.
function accuracyInterval(space, index) {
  const n = space.images;
  if (!n || index >= space.measured) return null;
  const p = space.accuracy[index];
  const z = 1.959964;
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = ((z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n)));
  return [middle - half, middle + half];
}

function command(group, pick) {
  const space = group.spaces[pick.space];
  const supernet = space.supernet || "SUPERNET.safetensors";
  const lut = group.devices[pick.device].lut;
  const batch = group.batch === 1 ? "" : " --force";
  return (
    `python -m hwbench.specialize --supernet ${supernet} --space ${space.name} ` +
    `--arch ${space.archs[pick.index]} --lut ${lut} --out subnet${batch}`
  );
}
