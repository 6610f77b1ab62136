/* The rows: unpacked from the page's data, put in words, drawn as a table. No choice of the reader is kept here. */
const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const figure = (value, digits = 4) => value === null || value === undefined ? "" : String(Number(value.toPrecision(digits)));
const signed = (value, digits = 2) => value === null ? "" : `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(digits)}`;

const inWords = (verdict) => {
  const {outcome, gap} = verdict;
  if (outcome === "unjudged") return gap === null ? "not judged" : `no verdict (${signed(gap)})`;
  return outcome === "loses" || outcome === "clears" ? `${outcome} ${Math.abs(gap).toFixed(2)}` : outcome;
};

const unpack = (data) => {
  const {columns} = data;
  const read = {};
  for (const [name, column] of Object.entries(columns)) {
    if (Array.isArray(column)) read[name] = (at) => column[at];
    else if (column.rows) read[name] = (at) => column.words[column.rows[at]];
    else read[name] = (at) => column.words[at];
  }
  const names = Object.keys(read);
  const rows = Array.from({length: columns.top1.length}, (_, index) => {
    const row = {index};
    for (const name of names) row[name] = read[name](index);
    return row;
  });
  const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const value = new Map([...DIGITS].map((letter, at) => [letter, at]));
  const {width, kinds, cells} = data.verdicts;
  const unpacked = [];
  /* Under one set of assumptions, the verdict of each row: made once, when the set is first asked for. */
  const cellOf = (number) => {
    if (!unpacked[number]) {
      const [letters, gaps] = cells[number];
      let next = 0;
      unpacked[number] = rows.map((_, index) => {
        let at = 0;
        for (let letter = index * width; letter < (index + 1) * width; letter += 1) at = at * DIGITS.length + value.get(letters[letter]);
        const [outcome, decided, bits, why, near] = kinds[at];
        const gap = bits & 2 ? gaps[next++] / 100 : null;
        const verdict = {outcome, decided, wide: Boolean(bits & 1), why, near, gap, text: ""};
        verdict.text = inWords(verdict);
        return verdict;
      });
    }
    return unpacked[number];
  };
  const verdictOf = (row, number) => cellOf(number)[row.index];
  return {rows, verdictOf};
};

const nameOf = (row) => row.method.toLowerCase().replaceAll("-", "").includes(row.arch) ? row.method : `${row.arch} ${row.method}`;
const referenceInWords = (row, budget) => {
  const cost = budget === "params" ? `${figure(row.params)} M` : `${figure(row.macs)} G`;
  return `${nameOf(row)}${row.pixels ? ` at ${row.pixels} px` : ""} (${figure(row.top1, 5)} %, ${cost})`;
};
/* A verdict in a sentence or two: what decided it, and what to beware of. */
const sentence = (verdict, budget, rows) => {
  if (verdict.outcome === "reference") return "a reference: it may be part of the bar";
  const between = verdict.near.map((index) => referenceInWords(rows[index], budget)).join(" and ");
  const where = between ? `${verdict.near.length > 1 ? "between" : "at"} ${between}` : "";
  if (verdict.outcome === "unjudged") return `${verdict.text}: ${verdict.why}${where ? `; the bar is ${where}` : ""}`;
  const amount = verdict.outcome === "ties" ? ` (${signed(verdict.gap)})` : ` by ${Math.abs(verdict.gap).toFixed(2)} points`;
  const beware = verdict.wide ? ". Wide gap: these references lie far apart" : "";
  return `${verdict.outcome}${amount}${verdict.decided ? `, ${verdict.decided}` : ""}; the bar is ${where}${beware}`;
};

/* The table: lines are made once, when they are first shown. */
const tableOf = (tbody, toggle) => {
  const lines = new Map();
  const make = (row) => {
    const line = element("tr", null, {"data-row": row.index, role: "row"});
    const head = element("th", null, {scope: "row", role: "rowheader"});
    head.append(element("button", row.method, {type: "button", "aria-expanded": "false"}),
      element("span", `${row.arch} \u00b7 ${row.dataset}`, {class: "where"}));
    const cell = (text, kind) => element("td", text, {class: kind, role: "cell"});
    line.append(head, cell(row.familyName, "minor"), cell(row.top1 === null ? "" : row.top1.toFixed(2), "num"),
      cell(row.drop === null ? "" : row.drop.toFixed(2), "num minor"), cell(figure(row.macs), "num"),
      cell(row.ratio === null ? "" : `${(100 * row.ratio).toFixed(1)} %`, "num minor"), cell(figure(row.params), "num minor"),
      cell(row.year ?? "", "num minor"), element("td", "", {role: "cell"}));
    return line;
  };
  tbody.addEventListener("click", (event) => {
    const line = event.target.closest("tr[data-row]");
    if (line && event.target.closest("th button")) toggle(line);
  });
  return {
    line: (row) => lines.get(row.index)?.line,
    /* Shows these rows in this order; `said` gives a row's verdict, whether it is foreign and whether it is picked. */
    show: (rows, said) => {
      for (const open of tbody.querySelectorAll("[aria-expanded=true]")) {
        open.setAttribute("aria-expanded", "false");
        open.removeAttribute("aria-controls");
      }
      const shown = rows.map((row) => {
        let entry = lines.get(row.index);
        if (!entry) lines.set(row.index, entry = {line: make(row)});
        const {verdict, kind} = said(row);
        if (entry.verdict !== verdict) {
          entry.verdict = verdict;
          entry.line.lastElementChild.textContent = verdict.text;
          entry.line.lastElementChild.className = `verdict ${verdict.outcome}`;
        }
        if (entry.kind !== kind) entry.line.className = entry.kind = kind;
        return entry.line;
      });
      tbody.replaceChildren(...shown);
    },
  };
};
