"use strict";
/* The chart: bar, marks, axes and names, drawn as SVG. It knows nothing of the page's choices but what it is given. */
const chartOf = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const SHAPES = {
    circle: "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0", square: "M-7-7H7V7H-7Z", diamond: "M0-9L8 0L0 9L-8 0Z",
    "triangle-up": "M0-8L8 7H-8Z", "triangle-down": "M0 8L8-7H-8Z", cross: "M-3-9H3V-3H9V3H3V9H-3V3H-9V-3H-3Z",
  };
  const draw = (name, attributes, text) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  /* Ticks at 1, 2, 3, 5 of every power of ten (fewer where many powers are shown), or at round steps. */
  const logTicks = ([low, high]) => {
    const digits = high / low > 200 ? [1] : high / low > 30 ? [1, 2, 5] : high / low > 4 ? [1, 2, 3, 4, 5, 6, 8]
      : [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const digit of digits) ticks.push(Number((digit * 10 ** power).toPrecision(6)));
    }
    return ticks.filter((tick) => tick >= low && tick <= high);
  };
  const linearTicks = ([low, high], wanted) => {
    const rough = (high - low) / wanted;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((digit) => digit * power).find((each) => each >= rough);
    const ticks = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(Number(tick.toPrecision(6)));
    return ticks;
  };

  /* The bar as pieces of one dash each: [points, class]. Straight in log cost, so bent on a linear axis. */
  const pieces = (knots, [low, high], log, wide) => {
    const found = [];
    const first = knots[0], last = knots.at(-1);
    if (low < first.x) found.push([[[low, first.y], [first.x, first.y]], "beyond"]);
    for (let at = 0; at + 1 < knots.length; at += 1) {
      const left = knots[at], right = knots[at + 1];
      const path = [];
      const steps = log ? 1 : 16;
      for (let step = 0; step <= steps; step += 1) {
        path.push([left.x * (right.x / left.x) ** (step / steps), left.y + (right.y - left.y) * step / steps]);
      }
      found.push([path, right.x > wide * left.x ? "gap" : "solid"]);
    }
    if (last.x < high) found.push([[[last.x, last.y], [high, last.y]], "beyond"]);
    return found;
  };

  /* Where each name goes so that none lies on another or on a mark of the bar; left out where there is no room. */
  const PLACES = [[-8, -7, "end"], [8, 15, "start"], [0, -11, "middle"], [0, 19, "middle"]];
  const place = (knots, width, height) => {
    const taken = knots.map(({px, py}) => [px - 4, py - 4, px + 4, py + 4]);
    const own = [...taken];
    return knots.map(({px, py, label}, number) => {
      const wide = 6.1 * label.length;
      for (const [dx, dy, anchor] of PLACES) {
        const left = px + dx - {start: 0, middle: wide / 2, end: wide}[anchor];
        const box = [left, py + dy - 10, left + wide, py + dy + 3];
        const inside = box[0] >= 0 && box[2] <= width && box[1] >= 0 && box[3] <= height;
        const free = inside && taken.every((other) => other === own[number] ||
          box[0] >= other[2] || other[0] >= box[2] || box[1] >= other[3] || other[1] >= box[3]);
        if (free) { taken.push(box); return [dx, dy, anchor]; }
      }
      return null;
    });
  };

  /* What the axes show: all results of the network, whatever is searched for, and the bar as far as it is near. */
  const domains = (points, knots, log) => {
    const all = points.length ? points : knots;
    const low = Math.min(...all.map(({x}) => x)), high = Math.max(...all.map(({x}) => x));
    const near = [...all, ...knots.filter(({x}) => x >= low / 1.6 && x <= high * 1.6)];
    const [left, right] = [Math.min(...near.map(({x}) => x)), Math.max(...near.map(({x}) => x))];
    const [bottom, top] = [Math.min(...near.map(({y}) => y)), Math.max(...near.map(({y}) => y))];
    const margin = 0.06 * (top - bottom || 1);
    const spread = right > left ? (right / left) ** 0.04 : 1.1;
    const around = (right - left || right) * 0.04;
    return {x: log ? [left / spread, right * spread] : [Math.max(left - around, 0), right + around],
      y: [bottom - margin, top + margin]};
  };

  /* given: points {x, y, family, row, faint}, knots {x, y, label, row}, log, percent, title, wide, marks. */
  const chart = (host, given) => {
    const width = Math.max(host.clientWidth, 280), narrow = width < 560;
    const height = narrow ? 340 : 460;
    const margin = {left: 46, right: 10, top: 8, bottom: 48};
    const inner = [width - margin.left - margin.right, height - margin.top - margin.bottom];
    const {x: dx, y: dy} = domains(given.points, given.knots, given.log);
    const px = (x) => (given.log ? Math.log(x / dx[0]) / Math.log(dx[1] / dx[0]) : (x - dx[0]) / (dx[1] - dx[0])) * inner[0];
    const py = (y) => (dy[1] - y) / (dy[1] - dy[0]) * inner[1];
    const svg = draw("svg", {viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true"});
    const plot = draw("g", {transform: `translate(${margin.left} ${margin.top})`});
    svg.append(plot);
    for (const tick of linearTicks(dy, 7)) {
      plot.append(draw("path", {d: `M0 ${py(tick)}H${inner[0]}`, class: "grid"}),
        draw("text", {x: -8, y: py(tick) + 4, "text-anchor": "end", class: "tick"}, String(tick)));
    }
    let end = -Infinity;
    for (const tick of given.log ? logTicks(dx) : linearTicks(dx, narrow ? 4 : 8)) {
      const label = given.percent ? `${Number((100 * tick).toPrecision(4))} %` : String(tick);
      const at = px(tick), half = 3.6 * label.length + 3;
      plot.append(draw("path", {d: `M${at} ${inner[1]}v5`, class: "grid"}));
      if (at - half < end) continue;
      end = at + half;
      plot.append(draw("text", {x: at, y: inner[1] + 19, "text-anchor": "middle", class: "tick"}, label));
    }
    plot.append(draw("path", {d: `M0 ${inner[1]}H${inner[0]}`, class: "grid"}),
      draw("text", {x: inner[0] / 2, y: inner[1] + 40, "text-anchor": "middle", class: "title"}, given.title),
      draw("text", {transform: `translate(${-36} ${inner[1] / 2}) rotate(-90)`, "text-anchor": "middle", class: "title"},
        "top-1 accuracy (%)"));
    const clip = draw("clipPath", {id: "within"});
    clip.append(draw("rect", {width: inner[0], height: inner[1]}));
    const line = draw("g", {"clip-path": "url(#within)"});
    plot.append(clip, line);
    if (given.knots.length) {
      for (const [path, kind] of pieces(given.knots, dx, given.log, given.wide)) {
        line.append(draw("path", {d: "M" + path.map(([x, y]) => `${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("L"),
          class: `bar ${kind}`}));
      }
    }
    for (const point of given.points) {
      const [, colour, shape] = given.marks[point.family];
      plot.append(draw("path", {d: SHAPES[shape], fill: colour, "data-point": point.row,
        class: point.faint ? "point faint" : "point",
        transform: `translate(${px(point.x).toFixed(1)} ${py(point.y).toFixed(1)}) scale(${narrow ? 0.6 : 0.66})`}));
    }
    const knots = given.knots.filter(({x, y}) => x >= dx[0] && x <= dx[1] && y >= dy[0] && y <= dy[1])
      .map((knot) => ({...knot, px: px(knot.x), py: py(knot.y)}));
    const places = place(knots, inner[0], inner[1]);
    knots.forEach((knot, number) => {
      plot.append(draw("path", {d: "M-4-4H4V4H-4Z", class: "knot", "data-point": knot.row,
        transform: `translate(${knot.px.toFixed(1)} ${knot.py.toFixed(1)})`}));
      if (!places[number]) return;
      const [x, y, anchor] = places[number];
      plot.append(draw("text", {x: knot.px + x, y: knot.py + y, "text-anchor": anchor, class: "name"}, knot.label));
    });
    const ring = draw("circle", {r: 11, class: "ring", visibility: "hidden"});
    plot.append(ring);
    host.replaceChildren(svg);
    const where = new Map([...given.points, ...given.knots].map((each) => [each.row, each]));
    return {ring: (row) => {
      const at = row && where.get(row.index);
      ring.setAttribute("visibility", at ? "visible" : "hidden");
      if (at) ring.setAttribute("transform", `translate(${px(at.x)} ${py(at.y)})`);
    }};
  };
  chart.mark = (shape, colour) => draw("path", {d: SHAPES[shape], fill: colour});
  return chart;
})();
