/* The page: what is chosen, what follows from it, and the address that brings a reader back to it. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const {rows, verdictOf} = unpack(data);
  for (const row of rows) row.familyName = data.marks[row.family][0];
  const number = new Map(rows.map((row) => [row.id, row]));
  const paperOf = (row) => data.papers[row.paper] || ["", "", null, ""];
  const words = rows.map((row) => [row.method, row.arch, row.dataset, row.id, row.paper, ...paperOf(row).slice(0, 3), row.note,
    row.recipe, row.caveats].join(" ").toLowerCase());
  if (!data.pairs.length) return;

  /* What is chosen. Everything that differs from these stands in the address. */
  const [firstDataset, firstArch] = data.pairs[0];
  const defaults = (arch) => ({dataset: firstDataset, arch: firstArch, against: data.usual[arch] || data.usual[firstArch],
    recipes: "any", resolution: "any", axis: "macs", log: "1", q: "", verdict: "", size: "", from: "", to: "", hide: "",
    whole: "", sort: "macs", down: "", row: "", paper: ""});
  let state = defaults(firstArch);
  let drawn = null;
  const allowed = {
    against: new Set(data.assumptions.map((each) => each[0])), recipes: new Set(data.assumptions.map((each) => each[1])),
    resolution: new Set(data.assumptions.map((each) => each[2])), axis: new Set(["macs", "params", "ratio", "both"]),
    verdict: new Set(["", "loses", "ties", "clears", "unjudged", "reference"]), size: new Set(["", "usual", "other"]),
    sort: new Set([...document.querySelectorAll("th[data-key]")].map((head) => head.dataset.key)),
  };
  const budgetOf = {macs: "macs", params: "params", ratio: "macs", both: "both"};
  const columnOf = {macs: "macs", params: "params", ratio: "ratio", both: "macs"};
  const budget = () => budgetOf[state.axis];
  const pairNumber = () => data.pairs.findIndex(([dataset, arch]) => dataset === state.dataset && arch === state.arch);
  const cellNumber = (against, recipes, resolution, on) => data.assumptions.findIndex((each) =>
    each[0] === against && each[1] === recipes && each[2] === resolution && each[3] === on);
  const cell = () => cellNumber(state.against, state.recipes, state.resolution, budget());

  const write = () => {
    const usual = defaults(state.arch);
    const changed = Object.entries(state).filter(([key, value]) => value !== usual[key]);
    const hash = new URLSearchParams(changed).toString();
    if (location.hash.slice(1) !== hash) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  };
  const read = () => {
    const hash = location.hash.slice(1);
    let plain = "";
    try { plain = decodeURIComponent(hash); } catch { plain = ""; }
    const given = number.has(plain) ? {row: plain} : Object.fromEntries(new URLSearchParams(hash));
    const asked = number.get(given.row);
    if (asked && !given.arch && !given.dataset) [given.dataset, given.arch] = [asked.dataset, asked.arch];
    const at = data.pairs.find(([dataset, arch]) => dataset === (given.dataset ?? firstDataset) && arch === (given.arch ?? firstArch));
    state = defaults((at || data.pairs[0])[1]);
    [state.dataset, state.arch] = at || data.pairs[0];
    for (const key of Object.keys(state)) {
      if (key === "dataset" || key === "arch" || given[key] === undefined) continue;
      if (!allowed[key] || allowed[key].has(given[key])) state[key] = given[key];
    }
    if (!number.has(state.row)) state.row = "";
  };

  /* What follows from it. */
  const chosen = (row) => row.dataset === state.dataset && row.arch === state.arch;
  const curve = () => {
    const on = budget() === "both" ? "macs" : budget();
    const at = data.assumptions.filter((each) => each[3] !== "both").findIndex((each) =>
      each[0] === state.against && each[1] === state.recipes && each[2] === state.resolution && each[3] === on);
    return (data.curves[data.bars[pairNumber()][at]] || []).map((index) => rows[index]);
  };
  const cost = (row) => {
    if (state.axis !== "ratio" || chosen(row)) return row[columnOf[state.axis]];
    const dense = data.dense[pairNumber()];
    return dense && row.macs !== null ? row.macs / dense : null;
  };
  const matches = () => {
    const asked = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const hidden = new Set(state.hide.split(",").filter(Boolean));
    const [from, to] = [Number(state.from) || -Infinity, Number(state.to) || Infinity];
    const dated = state.from !== "" || state.to !== "";
    const at = cell();
    return (row) => !hidden.has(row.family) && (!dated || (row.year !== null && row.year >= from && row.year <= to)) &&
      (!state.size || (state.size === "other") === (row.pixels !== null)) &&
      (!state.verdict || verdictOf(row, at).outcome === state.verdict) && asked.every((word) => words[row.index].includes(word));
  };

  /* The table. */
  const sorting = (at) => {
    if (state.sort === "verdict") {
      return (row) => { const {outcome, gap} = verdictOf(row, at); return outcome === "unjudged" ? null : gap; };
    }
    if (state.sort === "method" || state.sort === "family") return (row) => row[state.sort].toLowerCase();
    return (row) => row[state.sort];
  };
  let listed = [];
  const drawTable = () => {
    const bar = new Set(curve());
    const match = matches();
    const picked = number.get(state.row);
    const direction = state.down ? -1 : 1;
    const at = cell();
    const sortValue = sorting(at);
    const keyed = rows.filter((row) => (state.whole || chosen(row) || bar.has(row)) && match(row)).map((row) => [sortValue(row), row]);
    keyed.sort(([left], [right]) => {
      if (left === null || right === null) return (left === null) - (right === null);
      return left < right ? -direction : left > right ? direction : 0;
    });
    listed = keyed.map(([, row]) => row);
    table.show(listed, (row) => ({verdict: verdictOf(row, at),
      kind: (state.whole || !chosen(row) ? "foreign" : "") + (row === picked ? " here" : "")}));
    for (const head of document.querySelectorAll("th[data-key]")) {
      if (head.dataset.key === state.sort) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    byId("count").textContent = `${listed.length} of ${rows.length} rows`;
  };

  /* One row in full: its numbers, its verdicts under all assumptions, and where it comes from. */
  const link = (url, text) => /^https?:\/\//.test(url)
    ? element("a", text, {href: url, rel: "noopener noreferrer", target: "_blank"}) : element("span", text);
  const button = (text, act) => {
    const made = element("button", text, {type: "button"});
    made.addEventListener("click", act);
    return made;
  };
  const details = (row) => {
    const [title, venue, year] = paperOf(row);
    const list = element("dl");
    const say = (term, value) => {
      if (!value) return;
      const definition = element("dd");
      definition.append(value);
      list.append(element("dt", term), definition);
    };
    say("network", `${row.arch} on ${row.dataset}, ${row.familyName}, ${row.source}`);
    say("top-1", row.top1 === null ? "not printed" : `${figure(row.top1, 5)} %, ${row.spread}` +
      (row.drop === null ? "" : `, drop ${figure(row.drop, 4)} points`));
    say("MACs", row.macs === null ? "not known in a known unit" : `${figure(row.macs)} G (${row.macsBasis})` +
      (row.ratio === null ? "" : `, ${figure(100 * row.ratio, 3)} % of dense`));
    say("parameters", row.params === null ? "not known" : `${figure(row.params)} M (${row.paramsBasis})`);
    say("recipe", row.recipe);
    say("beware", row.caveats);
    const own = verdictOf(row, cell());
    say("verdict", `${sentence(own, budget(), rows)} (${state.against}, ${state.recipes} recipe, ${state.resolution} resolution, on ${data.budgets[budget()]})`);
    if (own.outcome !== "reference") say("in all", everyVerdict(row));
    if (title) {
      const cited = element("span");
      cited.append(button(title, () => openPaper(row.paper)), [venue, year].filter(Boolean).map((part) => `, ${part}`).join(""));
      say("paper", cited);
    }
    say("found in", row.locator);
    if (row.read) say("read at", row.link ? link(row.link, row.read) : row.read);
    say("evidence", row.evidence);
    say("note", row.note);
    say("row", row.id);
    const block = element("div", null, {class: "details"});
    block.append(list);
    const printed = byId(`paper-${row.paper}`);
    if (printed) {
      const more = element("details");
      more.append(element("summary", "BibTeX"), element("pre", printed.querySelector("pre").textContent, {tabindex: "0"}));
      block.append(more);
    }
    return block;
  };
  /* How often a row loses, ties and clears under all assumptions. */
  const everyVerdict = (row) => {
    const counts = {loses: 0, ties: 0, clears: 0, unjudged: 0};
    data.assumptions.forEach((_, at) => { counts[verdictOf(row, at).outcome] += 1; });
    return `under all ${data.assumptions.length} sets of assumptions: loses ${counts.loses}, ties ${counts.ties}, ` +
      `clears ${counts.clears}, not judged ${counts.unjudged}`;
  };
  const toggle = (line) => {
    const row = rows[line.dataset.row];
    const handle = line.querySelector("button");
    const open = handle.getAttribute("aria-expanded") === "true";
    handle.setAttribute("aria-expanded", String(!open));
    if (open) {
      line.nextElementSibling.remove();
      handle.removeAttribute("aria-controls");
      return;
    }
    const place = element("td", null, {role: "cell"});
    place.append(details(row));
    const below = element("tr", null, {class: "details-row", role: "row", id: `details-${row.index}`});
    below.append(place);
    line.after(below);
    handle.setAttribute("aria-controls", below.id);
    if (drawn) drawn.ring(row);
  };
  const table = tableOf(byId("rows"), toggle);
  const pick = (row) => {
    state.row = row ? row.id : "";
    tip.hidden = true;
    const panel = byId("picked");
    panel.hidden = !row;
    if (row) {
      const actions = element("div", null, {class: "actions"});
      actions.append(button("Show it in the table", () => goTo(row)), button("Close", () => pick(null)));
      panel.replaceChildren(element("h3", nameOf(row)), details(row), actions);
    }
    for (const each of byId("rows").querySelectorAll("tr.here")) each.classList.remove("here");
    const line = row && table.line(row);
    if (line) line.classList.add("here");
    if (drawn) drawn.ring(row);
    write();
  };
  const goTo = (row) => {
    if (!listed.includes(row)) {
      Object.assign(state, {q: "", verdict: "", size: "", from: "", to: "", hide: "", whole: chosen(row) ? "" : "1"});
      fillControls();
      redraw();
    }
    const line = table.line(row);
    line.scrollIntoView({block: "center"});
    line.querySelector("button").focus({preventScroll: true});
    if (line.querySelector("button").getAttribute("aria-expanded") === "false") toggle(line);
  };

  /* The papers: their results are listed when one is opened. */
  const listPaper = (section) => {
    const old = section.querySelector("ul");
    if (old) old.remove();
    const list = element("ul");
    for (const row of rows.filter((each) => each.paper === section.dataset.paper)) {
      const item = element("li");
      const figures = [row.top1 === null ? "" : `${figure(row.top1, 5)} %`, row.macs === null ? "" : `${figure(row.macs)} G`];
      item.append(button(nameOf(row), () => { choose(row.dataset, row.arch); pick(row); goTo(row); }),
        ` ${[row.dataset, ...figures, verdictOf(row, cell()).text].filter(Boolean).join(", ")}`);
      list.append(item);
    }
    section.append(list);
  };
  const openPaper = (key) => {
    const section = byId(`paper-${key}`);
    if (!section) return;
    section.open = true;
    section.scrollIntoView({block: "start"});
  };
  for (const section of document.querySelectorAll("details.paper")) {
    section.addEventListener("toggle", () => {
      if (section.open) listPaper(section);
      state.paper = section.open ? section.dataset.paper : state.paper === section.dataset.paper ? "" : state.paper;
      write();
    });
  }

  /* The chart. */
  const tip = element("div", null, {id: "tip", role: "presentation"});
  tip.hidden = true;
  document.body.append(tip);
  const hover = (event) => {
    const mark = event.target.closest("[data-point]");
    const row = mark && rows[mark.dataset.point];
    tip.hidden = !row;
    if (!row) return;
    const [title, , year] = paperOf(row);
    tip.replaceChildren(element("b", nameOf(row)),
      element("div", [`${figure(row.top1, 5)} % top-1`, row.macs === null ? "" : `${figure(row.macs)} G MACs`,
        row.params === null ? "" : `${figure(row.params)} M parameters`].filter(Boolean).join(", ")),
      element("div", sentence(verdictOf(row, cell()), budget(), rows)),
      element("div", [title || row.paper, year].filter(Boolean).join(", "), {class: "soft"}),
      element("div", row.locator, {class: "soft"}));
    const box = tip.getBoundingClientRect();
    const x = Math.max(8, Math.min(event.clientX + 14, document.documentElement.clientWidth - box.width - 8));
    const y = event.clientY + 16 + box.height > window.innerHeight ? event.clientY - box.height - 12 : event.clientY + 16;
    tip.style.transform = `translate(${x}px, ${Math.max(8, y)}px)`;
  };
  byId("chart").addEventListener("pointermove", hover);
  byId("chart").addEventListener("pointerleave", () => { tip.hidden = true; });
  byId("chart").addEventListener("click", (event) => {
    const mark = event.target.closest("[data-point]");
    if (mark) pick(rows[mark.dataset.point]);
  });
  const drawChart = () => {
    const match = matches();
    const at = cell();
    const points = rows.filter((row) => chosen(row) && verdictOf(row, at).outcome !== "reference")
      .map((row) => ({x: cost(row), y: row.top1, family: row.family, row: row.index, faint: !match(row)}))
      .filter((point) => point.x !== null && point.y !== null);
    const knots = curve().map((row) => ({x: cost(row), y: row.top1, label: data.labels[row.index], row: row.index}))
      .filter((knot) => knot.x !== null);
    const present = new Set(points.map((point) => point.family));
    for (const box of document.querySelectorAll("[data-family]")) box.parentNode.hidden = !present.has(box.dataset.family);
    byId("bar-name").textContent = `the bar: ${state.against}`;
    byId("legend").querySelector(".bar").hidden = !knots.length;
    byId("chart").hidden = !points.length;
    const note = byId("no-chart");
    note.hidden = points.length > 0 && knots.length > 0 && state.axis !== "both";
    note.textContent = !points.length ? "No result here has both an accuracy and this cost."
      : !knots.length ? "No reference of this set has this cost: there is no bar to draw, and nothing is judged."
        : "Under two budgets the bar is the lower of the two; the chart shows the one on MACs.";
    if (!points.length) { byId("chart").replaceChildren(); drawn = null; return; }
    points.sort((one, other) => other.faint - one.faint);
    drawn = chartOf(byId("chart"), {points, knots, log: Boolean(state.log), percent: state.axis === "ratio",
      title: data.axes[state.axis === "both" ? "macs" : state.axis][0], wide: data.wide, marks: data.marks});
    byId("chart").setAttribute("aria-label", `${points.length} results for ${state.arch} on ${state.dataset}: top-1 accuracy ` +
      `against ${data.axes[columnOf[state.axis]][0]}, with the bar of ${state.against}. The table below holds the same rows.`);
    drawn.ring(number.get(state.row));
  };

  /* The matrix of assumptions, and the gap taken apart. */
  const OUTCOMES = ["loses", "ties", "clears", "unjudged"];
  const drawMatrix = () => {
    const found = data.matrices[pairNumber()];
    const on = budget();
    const shown = data.assumptions.map((each, at) => [each, found.cells[at], at]).filter(([each]) => each[3] === on);
    /* Of the sets that judge anything, those under which the smallest and the largest share loses. */
    const shares = shown.map(([, [loses, ties, clears]]) => [loses, loses + ties + clears]).filter(([, of]) => of)
      .sort(([one, oneOf], [other, otherOf]) => one / oneOf - other / otherOf || one - other);
    const judged = shares.length > 0;
    const [[fewest, ofFewest], [most, ofMost]] = judged ? [shares[0], shares.at(-1)] : [[0, 0], [0, 0]];
    byId("big").hidden = !judged;
    byId("big").textContent = (fewest === most && ofFewest === ofMost ? "" : ofFewest === ofMost ? `${fewest} to ` :
      `${fewest} of ${ofFewest} to `) + `${most} of ${ofMost}`;
    byId("big-words").textContent = judged
      ? `published pruning results for ${state.arch} on ${state.dataset} lose to simple scaling on ${data.budgets[on]}, depending on which references are admitted`
      : `No published pruning result for ${state.arch} on ${state.dataset} can be judged on ${data.budgets[on]}: the rows and their figures are below.`;
    byId("matrix-what").textContent = `${state.arch} on ${state.dataset}, ${data.budgets[on]}, ${found.results} published pruning results`;
    let before = "";
    byId("matrix").tBodies[0].replaceChildren(...shown.map(([[against, recipes, resolution], counts, at]) => {
      const here = at === cell();
      const line = element("tr", null, here ? {class: "here"} : {});
      if (against !== before) {
        const rowspan = shown.filter(([each]) => each[0] === against).length;
        line.append(element("th", against, {scope: "rowgroup", rowspan}));
      }
      before = against;
      const choice = button(recipes, () => { Object.assign(state, {against, recipes, resolution}); fillControls(); redraw(); });
      choice.setAttribute("aria-pressed", String(here));
      choice.setAttribute("aria-label", `${against}, ${recipes} recipe, ${resolution} resolution`);
      const head = element("th", null, {scope: "row"});
      head.append(choice);
      const share = element("div", null, {class: "shares", "aria-hidden": "true"});
      share.append(...OUTCOMES.map((outcome, kind) => {
        const part = element("div", null, {class: outcome});
        part.style.flexGrow = counts[kind];
        part.hidden = !counts[kind];
        return part;
      }));
      const place = element("td", null, {class: "share"});
      place.append(share);
      line.append(head, element("td", resolution), place,
        ...OUTCOMES.map((_, kind) => element("td", counts[kind], {class: kind === 3 ? "num minor" : "num"})),
        element("td", counts[4] === null ? "" : signed(counts[4] / 100), {class: "num"}));
      return line;
    }));
    const anyRecipe = data.assumptions.filter((each) => each[1] === "any");
    const part = found.parts[anyRecipe.findIndex((each) => each[0] === state.against && each[2] === state.resolution && each[3] === on)];
    byId("parts").hidden = !part[0];
    const [gap, shape, recipe] = part.slice(1).map((each) => each === null ? "" : signed(each / 100));
    byId("parts").textContent = `What the gap is made of, against ${state.against} (${state.resolution} resolution, any recipe): ` +
      `${part[0]} results lie on both bars, and their median gap is ${gap} points. Their shape is worth ${shape} (result minus ` +
      `classical bar); the references' modern recipes are worth ${recipe} (bar minus classical bar). Medians, so the parts add up nearly.`;
  };

  const redraw = () => { drawMatrix(); drawTable(); drawChart(); write(); };

  /* What is shown, as a file. */
  const download = () => {
    const quote = (text) => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const names = ["id", "dataset", "arch", "method", "family", "source", "paper", "year", "top1", "drop", "macs_g",
      "macs_ratio", "params_m", "resolution_scaled_to", "verdict", "decided", "gap", "wide_gap", "references", "recipes",
      "resolution", "budget", "rules", "locator"];
    const lines = listed.map((row) => {
      const verdict = verdictOf(row, cell());
      return [row.id, row.dataset, row.arch, row.method, row.family, row.source, row.paper, row.year, row.top1, row.drop,
        row.macs, row.ratio, row.params, row.pixels, verdict.outcome, verdict.decided, verdict.gap, verdict.wide ? "yes" : "",
        state.against, state.recipes, state.resolution, budget(), data.rules, row.locator]
        .map((value) => quote(value === null || value === undefined ? "" : String(value))).join(",");
    });
    const address = URL.createObjectURL(new Blob([`${[names.join(","), ...lines].join("\n")}\n`], {type: "text/csv"}));
    element("a", null, {href: address, download: `thinresnet-${state.arch}-${state.dataset}.csv`}).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  };

  /* The controls. */
  const archsOf = (dataset) => data.pairs.filter((pair) => pair[0] === dataset).map((pair) => pair[1]);
  const fill = (select, values, value) => {
    select.replaceChildren(...values.map((each) => element("option", each)));
    select.value = value;
  };
  const fillControls = () => {
    fill(byId("dataset"), [...new Set(data.pairs.map((pair) => pair[0]))], state.dataset);
    fill(byId("arch"), archsOf(state.dataset), state.arch);
    for (const [id, key] of [["against", "against"], ["recipes", "recipes"], ["resolution", "resolution"], ["verdict", "verdict"],
      ["size", "size"], ["from", "from"], ["to", "to"], ["search", "q"]]) byId(id).value = state[key];
    for (const box of document.querySelectorAll("input[name=axis]")) box.checked = box.value === state.axis;
    byId("log").checked = Boolean(state.log);
    byId("whole").checked = Boolean(state.whole);
    const hidden = state.hide.split(",");
    for (const box of document.querySelectorAll("[data-family]")) box.checked = !hidden.includes(box.dataset.family);
  };
  const choose = (dataset, arch) => {
    Object.assign(state, {dataset, arch, against: data.usual[arch]});
    fillControls();
    pick(null);
    redraw();
  };
  const on = (id, kind, act) => byId(id).addEventListener(kind, (event) => { act(event.target); redraw(); });
  byId("dataset").addEventListener("change", ({target}) => choose(target.value, archsOf(target.value)[0]));
  byId("arch").addEventListener("change", ({target}) => choose(state.dataset, target.value));
  for (const key of ["against", "recipes", "resolution", "verdict", "size"]) on(key, "change", (field) => { state[key] = field.value; });
  for (const key of ["from", "to"]) on(key, "input", (field) => { state[key] = field.value; });
  on("log", "change", (field) => { state.log = field.checked ? "1" : ""; });
  on("whole", "change", (field) => { state.whole = field.checked ? "1" : ""; });
  on("search", "input", (field) => { state.q = field.value; });
  on("controls", "change", (field) => { if (field.name === "axis") state.axis = field.value; });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("download").addEventListener("click", download);
  byId("reset").addEventListener("click", () => { state = {...defaults(state.arch), dataset: state.dataset, arch: state.arch}; fillControls(); pick(null); redraw(); });
  for (const box of document.querySelectorAll("[data-family]")) {
    const [, colour, shape] = data.marks[box.dataset.family];
    box.parentNode.querySelector("svg").append(chartOf.mark(shape, colour));
    box.addEventListener("change", () => {
      state.hide = [...document.querySelectorAll("[data-family]")].filter((each) => !each.checked).map((each) => each.dataset.family).join(",");
      redraw();
    });
  }
  for (const head of document.querySelectorAll("th[data-key] button")) {
    head.addEventListener("click", () => {
      const key = head.parentNode.dataset.key;
      const down = state.sort === key ? !state.down : ["top1", "verdict", "year"].includes(key);
      Object.assign(state, {sort: key, down: down ? "1" : ""});
      drawTable();
      write();
    });
  }

  const start = () => {
    read();
    const {row, paper} = state;
    fillControls();
    redraw();
    if (row) { pick(number.get(row)); goTo(number.get(row)); } else pick(null);
    if (paper) openPaper(paper);
  };
  byId("table").hidden = false;
  start();
  window.addEventListener("hashchange", start);
  let width = byId("chart").clientWidth;
  new ResizeObserver(() => {
    if (byId("chart").clientWidth === width || byId("chart").hidden) return;
    width = byId("chart").clientWidth;
    drawChart();
  }).observe(byId("chart"));
  document.documentElement.dataset.ready = "yes";
})();
