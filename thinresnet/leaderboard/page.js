"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const rows = data.rows;
  const number = new Map(rows.map((row, index) => [row.id, index]));
  const bodyRows = [...document.querySelectorAll("tr[data-row]")];
  const tbody = bodyRows.length ? bodyRows[0].parentNode : null;
  const words = rows.map((row) => {
    const paper = data.papers[row.paper] || {};
    return [row.method, row.arch, row.dataset, row.id, row.paper, paper.title, paper.venue, paper.year, row.note,
      row.recipe, row.caveats].join(" ").toLowerCase();
  });
  const SHAPES = {
    circle: "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0", square: "M-7-7H7V7H-7Z", diamond: "M0-9L8 0L0 9L-8 0Z",
    "triangle-up": "M0-8L8 7H-8Z", "triangle-down": "M0 8L8-7H-8Z", cross: "M-3-9H3V-3H9V3H3V9H-3V3H-9V-3H-3Z",
  };
  const AXES = {macs: ["macs", "MACs"], params: ["params", "parameters"], ratio: ["ratio", "MACs"]};
  const LABELS = {macs: "MACs (G)", params: "parameters (M)", ratio: "share of the dense network's MACs"};
  const state = {dataset: "", arch: "", against: "", axis: "macs", log: true, query: "", whole: false,
    hidden: new Set(), sort: "macs", down: false, picked: null};
  let view = null;
  let drawing = 0;

  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const figure = (value, digits = 4) => value === null || value === undefined ? "" : String(Number(value.toPrecision(digits)));
  const points = (value) => Math.abs(value).toFixed(2);
  const budget = () => AXES[state.axis][1];
  const verdictOf = (row, against, budgetName) => {
    if (!row.verdicts) return null;
    const at = data.families.indexOf(against) * data.budgets.length + data.budgets.indexOf(budgetName);
    const [outcome, gap, reference, near, why] = row.verdicts[at];
    return {outcome: data.outcomes[outcome], gap, reference: reference === null ? null : rows[reference], near, why: data.reasons[why]};
  };
  const brief = (row) => {
    const verdict = verdictOf(row, state.against, budget());
    if (!verdict) return ["reference", "reference", null];
    if (verdict.outcome === "loses") return ["loses", `loses ${points(verdict.gap)}`, verdict.gap];
    if (verdict.outcome === "ties") return ["ties", "ties", verdict.gap];
    if (verdict.outcome === "clears the bar" && verdict.near) return ["clears", `clears ${points(verdict.gap)}`, verdict.gap];
    return ["unjudged", verdict.gap === null ? "not judged" : "no reference", null];
  };
  const name = (row) => row.method.includes(row.arch) ? row.method : `${row.arch} ${row.method}`;
  const sentence = (row, against, budgetName) => {
    const verdict = verdictOf(row, against, budgetName);
    if (!verdict.reference) return verdict.why;
    const cost = budgetName === "parameters" ? `${figure(verdict.reference.params)} M parameters`
      : `${figure(verdict.reference.macs)} G MACs`;
    const size = verdict.reference.pixels ? ` at ${verdict.reference.pixels} px, scaled in resolution` : "";
    const other = `${name(verdict.reference)}${size} (${figure(verdict.reference.top1, 5)} %, ${cost})`;
    if (verdict.outcome === "loses") return `loses by ${points(verdict.gap)} points to ${other}`;
    if (verdict.outcome === "ties") return `ties with ${other}`;
    return verdict.near ? `clears the bar by ${points(verdict.gap)} points: ${other}`
      : `not judged: ${points(verdict.gap)} points above ${other}, but that costs less than ${data.near}`;
  };

  /* What is chosen, and what follows from it. */
  const barRows = () => {
    const own = state.against === data.families[0] ? state.arch : "";
    return (data.bars[`${state.dataset} ${own} ${state.against} ${budget()}`] || []).map((index) => rows[index]);
  };
  const cost = (row) => {
    if (state.axis !== "ratio") return row[AXES[state.axis][0]];
    const dense = data.dense[`${state.dataset} ${state.arch}`];
    if (row.arch === state.arch && row.dataset === state.dataset) return row.ratio;
    return dense && row.macs !== null ? row.macs / dense : null;
  };
  const found = (index) => state.query.toLowerCase().split(/\s+/).every((word) => words[index].includes(word));
  const chosen = (row) => row.dataset === state.dataset && row.arch === state.arch;

  /* The table. */
  const sortValue = (row) => {
    if (state.sort === "year") return (data.papers[row.paper] || {}).year ?? null;
    if (state.sort === "verdict") return brief(row)[2];
    if (state.sort === "method" || state.sort === "family") return row[state.sort].toLowerCase();
    return row[state.sort];
  };
  const drawTable = () => {
    if (!tbody) return;
    const bar = new Set(barRows());
    for (const open of tbody.querySelectorAll(".details-row")) open.remove();
    let seen = 0;
    for (const line of bodyRows) {
      const index = Number(line.dataset.row);
      const row = rows[index];
      const foreign = !chosen(row);
      line.hidden = !(state.whole || chosen(row) || bar.has(row)) || state.hidden.has(row.family) || !found(index);
      line.querySelector(".where").classList.toggle("foreign", foreign);
      line.querySelector("button").setAttribute("aria-expanded", "false");
      line.classList.toggle("here", state.picked === row);
      if (line.hidden) continue;
      seen += 1;
      const [kind, text] = brief(row);
      line.lastElementChild.className = `verdict ${kind}`;
      line.lastElementChild.textContent = text;
    }
    const direction = state.down ? -1 : 1;
    bodyRows.sort((a, b) => {
      const [left, right] = [sortValue(rows[a.dataset.row]), sortValue(rows[b.dataset.row])];
      if (left === null || right === null) return (left === null) - (right === null);
      return left < right ? -direction : left > right ? direction : 0;
    });
    tbody.append(...bodyRows);
    tbody.parentNode.classList.toggle("whole", state.whole);
    for (const head of document.querySelectorAll("th[data-key]")) {
      if (head.dataset.key === state.sort) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    byId("count").textContent = `${seen} of ${rows.length} rows`;
  };

  /* One row in full: its numbers, its verdicts and where it comes from. */
  const link = (url, text) => /^https?:\/\//.test(url)
    ? element("a", text, {href: url, rel: "noopener noreferrer", target: "_blank"}) : element("span", text);
  const details = (row) => {
    const paper = data.papers[row.paper];
    const list = element("dl");
    const say = (term, value) => {
      if (!value) return;
      const definition = element("dd");
      definition.append(value);
      list.append(element("dt", term), definition);
    };
    say("network", `${row.arch} on ${row.dataset}, ${data.marks[row.family][0]}, ${row.source}`);
    say("top-1", row.top1 === null ? "not printed" : `${figure(row.top1, 5)} %, ${row.spread}` +
      (row.drop === null ? "" : `, drop ${figure(row.drop, 4)} points`));
    say("MACs", row.macs === null ? "not known in a known unit" : `${figure(row.macs)} G (${row.macsBasis})` +
      (row.ratio === null ? "" : `, ${figure(100 * row.ratio, 3)} % of dense`));
    say("parameters", row.params === null ? "not known" : `${figure(row.params)} M (${row.paramsBasis})`);
    say("recipe", row.recipe);
    say("beware", row.caveats);
    if (row.verdicts) {
      for (const budgetName of data.budgets) say(`on ${budgetName}`, sentence(row, state.against, budgetName));
      say("the bar", state.against);
    }
    if (paper) {
      const cited = element("span");
      cited.append(link(paper.url, paper.title), [paper.venue, paper.year].filter(Boolean).map((part) => `, ${part}`).join(""));
      say("paper", cited);
    }
    say("found in", row.locator);
    if (row.read) say("read at", row.link ? link(row.link, row.read) : row.read);
    say("evidence", row.evidence);
    say("note", row.note);
    say("row", row.id);
    const block = element("div", null, {class: "details"});
    block.append(list);
    if (paper) {
      const more = element("details");
      more.append(element("summary", "BibTeX"), element("pre", paper.bibtex, {tabindex: "0"}));
      block.append(more);
    }
    return block;
  };
  const button = (text, act) => {
    const made = element("button", text, {type: "button"});
    made.addEventListener("click", act);
    return made;
  };
  const ring = (row) => {
    if (!view) return;
    const x = row && (chosen(row) || barRows().includes(row)) ? cost(row) : null;
    const inside = x !== null && x !== undefined && row.top1 !== null && x <= view.barEnd;
    view.data("picked", [inside ? {x, y: row.top1, shown: 1} : view.unpicked]).runAsync();
  };
  const pick = (row) => {
    state.picked = row;
    tip.hidden = true;
    const panel = byId("picked");
    const actions = element("div", null, {class: "actions"});
    actions.append(
      button("Show it in the table", () => goTo(row)),
      button("Close", () => { state.picked = null; panel.hidden = true; ring(null); drawTable(); }),
    );
    panel.replaceChildren(element("h3", name(row)), details(row), actions);
    panel.hidden = false;
    for (const line of bodyRows) line.classList.toggle("here", rows[line.dataset.row] === row);
    ring(row);
  };
  const goTo = (row) => {
    const line = bodyRows.find((each) => rows[each.dataset.row] === row);
    if (line.hidden) {
      state.query = ""; state.hidden.clear(); state.whole = !chosen(row);
      byId("search").value = ""; byId("whole").checked = state.whole;
      for (const box of document.querySelectorAll("[data-family]")) box.checked = true;
      redraw();
    }
    line.scrollIntoView({block: "center"});
    line.querySelector("button").focus({preventScroll: true});
    if (line.querySelector("button").getAttribute("aria-expanded") === "false") toggle(line);
  };
  const toggle = (line) => {
    const row = rows[line.dataset.row];
    const handle = line.querySelector("button");
    const open = handle.getAttribute("aria-expanded") === "true";
    handle.setAttribute("aria-expanded", String(!open));
    if (open) {
      line.nextElementSibling.remove();
      handle.removeAttribute("aria-controls");
      ring(state.picked);
      return;
    }
    const cell = element("td", null, {colspan: "9"});
    cell.append(details(row));
    const below = element("tr", null, {class: "details-row", id: `details-${line.dataset.row}`});
    below.append(cell);
    line.after(below);
    handle.setAttribute("aria-controls", below.id);
    ring(row);
  };

  /* The chart. */
  const tip = element("div", null, {id: "tip", role: "presentation"});
  tip.hidden = true;
  document.body.append(tip);
  const hover = (handler, event, item, value) => {
    const row = value && rows[number.get(String(value))];
    tip.hidden = !row;
    if (!row) return;
    const paper = data.papers[row.paper];
    const lines = [element("b", name(row)),
      element("div", [`${figure(row.top1, 5)} % top-1`, row.macs === null ? "" : `${figure(row.macs)} G MACs`,
        row.params === null ? "" : `${figure(row.params)} M parameters`].filter(Boolean).join(", ")),
      element("div", brief(row)[1] === "reference" ? "a reference: part of the bar" : sentence(row, state.against, budget())),
      element("div", [paper ? paper.title : row.paper, paper && paper.year].filter(Boolean).join(", "), {class: "soft"}),
      element("div", row.locator, {class: "soft"})];
    tip.replaceChildren(...lines);
    const box = tip.getBoundingClientRect();
    const x = Math.max(8, Math.min(event.clientX + 14, document.documentElement.clientWidth - box.width - 8));
    const y = event.clientY + 16 + box.height > window.innerHeight ? event.clientY - box.height - 12 : event.clientY + 16;
    tip.style.transform = `translate(${x}px, ${Math.max(8, y)}px)`;
  };
  const look = () => {
    const css = getComputedStyle(document.documentElement);
    const [ink, soft, line] = ["--ink", "--soft", "--line"].map((key) => css.getPropertyValue(key).trim());
    const font = getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent", font, style: {ink: {color: ink}}, view: {stroke: null},
      axis: {labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line,
        labelFontSize: 12, titleFontSize: 13, titleFontWeight: "normal", titlePadding: 10},
    };
  };
  const drawChart = async () => {
    const mine = ++drawing;
    const shown = rows.map((row, index) => ({row, index}))
      .filter(({row, index}) => chosen(row) && row.verdicts && !state.hidden.has(row.family) && found(index))
      .map(({row}) => ({x: cost(row), y: row.top1, family: row.family, id: row.id}))
      .filter((point) => point.x !== null && point.y !== null);
    byId("no-chart").hidden = shown.length > 0;
    byId("chart").hidden = shown.length === 0;
    byId("bar-name").textContent = `the bar: ${state.against}`;
    const present = new Set(rows.filter((row) => chosen(row) && row.verdicts).map((row) => row.family));
    for (const box of document.querySelectorAll("[data-family]")) box.parentNode.hidden = !present.has(box.dataset.family);
    if (!shown.length) { if (view) view.finalize(); view = null; return; }
    const left = Math.min(...shown.map((point) => point.x));
    const right = Math.max(...shown.map((point) => point.x));
    let line = barRows().map((row) => ({x: cost(row), y: row.top1, id: row.id}))
      .filter((point) => point.x !== null && point.x <= right * 1.001);
    // What is cheaper than every point still is the bar for the cheapest ones: the last of it stays.
    line = line.slice(Math.max(line.filter((point) => point.x < left).length - 1, 0));
    if (line.length && line.at(-1).x < right) line.push({...line.at(-1), x: right, end: true});
    const unpicked = {x: shown[0].x, y: shown[0].y, shown: 0};
    const drawn = data.specs[`${state.axis} ${state.log ? "log" : "linear"}`];
    const spec = {...drawn, layer: drawn.layer.filter((layer) => line.length || layer.data.name !== "bar"),
      datasets: {points: shown, bar: line, picked: [unpicked]}};
    const narrow = byId("chart").clientWidth < 560;
    spec.height = narrow ? 320 : 440;
    const made = await window.vegaEmbed("#chart", spec, {
      actions: false, ast: true, renderer: "svg", config: look(), tooltip: hover, defaultStyle: false,
    });
    if (mine !== drawing) { made.finalize(); return; }
    if (view) view.finalize();
    view = made.view;
    Object.assign(view, {barEnd: right * 1.001, unpicked});
    view.addEventListener("click", (event, item) => {
      if (item && item.datum && number.has(item.datum.id)) pick(rows[number.get(item.datum.id)]);
    });
    byId("chart").setAttribute("aria-label", `${shown.length} results for ${state.arch} on ${state.dataset}: top-1 ` +
      `accuracy against ${LABELS[state.axis]}, with the bar of ${state.against}. The table below holds the same rows.`);
    if (state.picked) ring(state.picked);
  };

  /* The headline. */
  const KINDS = ["beaten by scaling", "tie", "clear the bar", "no reference near their cost", "cost or accuracy unknown"];
  const drawHeadline = () => {
    const said = data.headlines[`${state.dataset} ${state.arch} ${state.against} ${budget()}`];
    byId("headline").hidden = !said;
    if (!said) return;
    const judged = said.counts[0] + said.counts[1] + said.counts[2];
    byId("big").textContent = judged ? `${said.counts[0]} of ${judged}` : "None";
    byId("big-words").textContent = judged
      ? `published pruning results for ${state.arch} on ${state.dataset} that can be judged are beaten by simple scaling at no greater cost`
      : `of the published pruning results for ${state.arch} on ${state.dataset} can be judged`;
    const shares = said.counts.map((count, kind) => {
      const part = element("div", null, {class: `share-${kind}`});
      part.style.flexGrow = count;
      part.hidden = !count;
      return part;
    });
    byId("shares").replaceChildren(...shares);
    byId("counts").replaceChildren(...said.counts.map((count, kind) => {
      const item = element("li", null, {class: `share-${kind}`});
      item.append(element("b", count), ` ${KINDS[kind]}`);
      return item;
    }));
    byId("says").textContent = said.says;
  };

  const redraw = () => { drawHeadline(); drawTable(); return drawChart(); };

  /* The controls. */
  const fill = (select, values, chosenValue) => {
    select.replaceChildren(...values.map((value) => element("option", value)));
    select.value = chosenValue;
  };
  const archsOf = (dataset) => data.pairs.filter((pair) => pair[0] === dataset).map((pair) => pair[1]);
  const choose = (dataset, arch) => {
    state.dataset = dataset;
    state.arch = arch;
    state.against = data.usual[arch];
    fill(byId("dataset"), [...new Set(data.pairs.map((pair) => pair[0]))], dataset);
    fill(byId("arch"), archsOf(dataset), arch);
    byId("against").value = state.against;
    state.picked = null;
    byId("picked").hidden = true;
  };
  const on = (id, kind, act) => byId(id).addEventListener(kind, (event) => { act(event.target); redraw(); });
  on("dataset", "change", (field) => choose(field.value, archsOf(field.value)[0]));
  on("arch", "change", (field) => choose(state.dataset, field.value));
  on("against", "change", (field) => { state.against = field.value; });
  on("log", "change", (field) => { state.log = field.checked; });
  on("whole", "change", (field) => { state.whole = field.checked; });
  on("search", "input", (field) => { state.query = field.value.trim(); });
  on("controls", "change", (field) => { if (field.name === "axis") state.axis = field.value; });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const box of document.querySelectorAll("[data-family]")) {
    const [, colour, shape] = data.marks[box.dataset.family];
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", SHAPES[shape]);
    path.setAttribute("fill", colour);
    box.parentNode.querySelector("svg").append(path);
    box.addEventListener("change", () => {
      if (box.checked) state.hidden.delete(box.dataset.family); else state.hidden.add(box.dataset.family);
      redraw();
    });
  }
  for (const head of document.querySelectorAll("th[data-key] button")) {
    head.addEventListener("click", () => {
      const key = head.parentNode.dataset.key;
      state.down = state.sort === key ? !state.down : ["top1", "verdict", "year"].includes(key);
      state.sort = key;
      drawTable();
    });
  }
  if (tbody) {
    tbody.addEventListener("click", (event) => {
      const handle = event.target.closest("tr[data-row] th button");
      if (handle) toggle(handle.closest("tr"));
    });
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawChart());

  const wanted = number.get(decodeURIComponent(location.hash.slice(1)));
  const start = wanted === undefined ? data.pairs[0] : [rows[wanted].dataset, rows[wanted].arch];
  if (!start) return;
  choose(...(archsOf(start[0]).includes(start[1]) ? start : data.pairs[0]));
  redraw().then(() => {
    document.documentElement.dataset.ready = "yes";
    if (wanted !== undefined) { pick(rows[wanted]); goTo(rows[wanted]); }
  });
})();
