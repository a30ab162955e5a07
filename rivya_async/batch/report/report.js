"use strict";
// Rows are data until they come into view. Text is only ever set as text.
const facts = JSON.parse(document.getElementById("facts").textContent);
const rows = JSON.parse(document.getElementById("rows").textContent);
const $ = (id) => document.getElementById(id);
const formatNumber = (value) => value.toLocaleString("en");
const SYMBOLS = { downloaded: "✓", succeeded: "✓", failed: "✗", dead: "✗", submitted: "◐", intent: "?", planned: "·" };
const CARDS_PER_STEP = 60;
const hasFailed = (row) => row.state === "failed" || row.state === "dead";
const failedRows = rows.filter(hasFailed);
for (const row of failedRows) row.code = row.code || "unknown";

function createElement(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value; else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function createSvg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const createTerm = ([name, value]) => [createElement("dt", { textContent: name }), createElement("dd", { textContent: value })];

function formatSeconds(seconds) {
  if (seconds < 9.95) return seconds ? `${seconds.toFixed(1)} s` : "0 s";
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const [value, unit] = seconds < 3599.5 ? [Math.round(seconds), "min"] : [Math.round(seconds / 60), "h"];
  return `${Math.floor(value / 60)}:${String(value % 60).padStart(2, "0")} ${unit}`;
}

const formatTime = (at) => new Date(at * 1000).toLocaleString();
const formatSize = (bytes) => bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
const formatState = (row) => `${SYMBOLS[row.state] || ""} ${row.state}`;
const maximum = (values) => values.reduce((most, value) => Math.max(most, value), 0); // Math.max has too few arguments

function countValues(values) {
  const counts = new Map();
  for (const value of values) if (value != null) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function quantile(sorted, share) {
  const place = (sorted.length - 1) * share, below = Math.floor(place);
  return sorted[below] + (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]) * (place - below);
}

function roundUp(value) { // to a number that can end a scale
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((each) => each * power).find((each) => each >= value) || power;
}

// --- totals ---------------------------------------------------------------------------------------------------------

const countStates = (...states) => rows.filter((row) => states.includes(row.state)).length;
const endedRows = rows.filter((row) => row.end).sort((a, b) => a.end - b.end);
const times = rows.flatMap((row) => [row.at, row.end]).filter(Boolean).sort((a, b) => a - b);

// Only the time of runs counts: the charts of a batch that was resumed in the morning have no night. A run that was
// killed ends with its last known event.
let runSeconds = 0;
const runs = (facts.runs ?? times.slice(0, 1).map((at) => [at, null])).map(([from, end], index, all) => {
  const next = index + 1 < all.length ? all[index + 1][0] : Infinity;
  const lastKnown = end ?? times.findLast((at) => at < next) ?? from;
  const run = { from, to: Math.max(from, lastKnown), before: runSeconds };
  runSeconds += run.to - run.from;
  return run;
});

function toRunTime(at) { // seconds of runs before a time
  const run = runs.findLast((each) => each.from <= at);
  return run ? run.before + Math.min(at, run.to) - run.from : 0;
}

function showTotals() {
  const done = countStates("downloaded", "succeeded"), open = rows.length - done - failedRows.length;
  const totals = [["Rows", formatNumber(rows.length)], ["Done", formatNumber(done)]];
  if (failedRows.length) totals.push(["Failed", formatNumber(failedRows.length)]);
  if (open) totals.push(["Open", formatNumber(open)]);
  totals.push(["Credits", formatNumber(facts.spent ?? 0)]);
  if (facts.reserved) totals.push(["Reserved", formatNumber(facts.reserved)]);
  if (facts.earlier) totals.push(["Bought earlier", formatNumber(facts.earlier)]);
  if (runSeconds > 0) totals.push(["Time", formatSeconds(runSeconds)]);
  $("totals").append(...totals.map((total) => createElement("div", {}, ...createTerm(total))));
  const kinds = countValues(rows.flatMap((row) => (row.files || []).map((file) => file[1])));
  const parts = runs.length ? [formatTime(runs[0].from), runs.length === 1 ? "one run" : `${formatNumber(runs.length)} runs`] : [];
  parts.push(...kinds.map(([kind, count]) => `${formatNumber(count)} ${kind === "audio" ? "sound" : kind}${count === 1 ? "" : "s"}`));
  $("when").textContent = parts.join(" · ");
}

// --- charts ---------------------------------------------------------------------------------------------------------

const MAX_MODELS = 10; // models in the chart of durations: those with most jobs
const WIDTH = 340, HEIGHT = 190, LEFT = 40, BOTTOM = 22;
const FLOOR = HEIGHT - BOTTOM, SCALE_ENDS = [[0, "start"], [0.5, "middle"], [1, "end"]];
const chartSeconds = Math.max(runSeconds, 1);
const timeX = (seconds) => LEFT + seconds / chartSeconds * (WIDTH - LEFT);
const barHeight = (value, most) => (FLOOR - 8) * (value / most);

function addChart(title, note, svg) {
  $("charts").append(createElement("figure", {}, createElement("figcaption", {}, title, createElement("span", { textContent: note })), svg));
}

function createChart(label, height = HEIGHT) {
  return createSvg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label });
}

function addGrid(svg, most) {
  for (const [share] of SCALE_ENDS) {
    const y = FLOOR * (1 - share) + 8 * share;
    svg.append(createSvg("line", { class: "rule", x1: LEFT, x2: WIDTH, y1: y, y2: y }));
    svg.append(createSvg("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, formatNumber(most * share)));
  }
}

function createTimeline(label, most) {
  const svg = createChart(label);
  addGrid(svg, most);
  for (const run of runs.slice(1)) {
    const x = timeX(run.before), title = createSvg("title", {}, `resumed ${formatTime(run.from)}`);
    svg.append(createSvg("line", { class: "resumed", x1: x, x2: x, y1: 8, y2: FLOOR }, title));
  }
  for (const [share, anchor] of SCALE_ENDS) {
    svg.append(createSvg("text", { x: timeX(share * chartSeconds), y: HEIGHT - 4, "text-anchor": anchor }, formatSeconds(share * chartSeconds)));
  }
  return svg;
}

function showRate() {
  const bins = 40, width = chartSeconds / bins, done = new Array(bins).fill(0), failed = new Array(bins).fill(0);
  for (const row of endedRows) (hasFailed(row) ? failed : done)[Math.min(bins - 1, Math.floor(toRunTime(row.end) / width))] += 1;
  const most = roundUp(maximum(done.map((count, bin) => count + failed[bin])) / width);
  const svg = createTimeline("Jobs that ended per second, over the time of the runs", most), step = (WIDTH - LEFT) / bins;
  done.forEach((count, bin) => {
    const x = LEFT + bin * step + 0.5, low = barHeight(failed[bin] / width, most), high = barHeight(count / width, most);
    const bars = createSvg("g", {}, createSvg("title", {}, `${formatSeconds(bin * width)} to ${formatSeconds((bin + 1) * width)}: ${count} done, ${failed[bin]} failed`));
    if (low) bars.append(createSvg("rect", { class: "bar bad", x, y: FLOOR - low, width: step - 1, height: low }));
    if (high) bars.append(createSvg("rect", { class: "bar", x, y: FLOOR - low - high, width: step - 1, height: high }));
    svg.append(bars);
  });
  addChart("Jobs ended per second", `${formatNumber(Math.round(endedRows.length / chartSeconds * 100) / 100)} on average`, svg);
}

function showSpend() {
  const total = endedRows.reduce((sum, row) => sum + (row.credits ?? 0), 0), most = roundUp(total);
  const svg = createTimeline("Credits of ended jobs, over the time of the runs", most);
  const every = Math.max(1, Math.floor(endedRows.length / 400)), points = [];
  let sum = 0;
  endedRows.forEach((row, index) => {
    sum += row.credits ?? 0;
    if (index % every === 0 || index === endedRows.length - 1) points.push(`${timeX(toRunTime(row.end)).toFixed(1)},${(FLOOR - barHeight(sum, most)).toFixed(1)}`);
  });
  const line = `M${LEFT},${FLOOR} L${points.join(" L")}`, lastX = points.at(-1).split(",")[0];
  svg.append(createSvg("path", { class: "area", d: `${line} L${lastX},${FLOOR} Z` }), createSvg("path", { class: "path", d: line }));
  addChart("Credits spent", `${formatNumber(total)} in all`, svg);
}

function showDurations() {
  const timed = rows.filter((row) => row.took != null), models = countValues(timed.map((row) => row.model));
  if (!models.length) return;
  const boxes = models.slice(0, MAX_MODELS).map(([model]) => {
    const durations = timed.filter((row) => row.model === model).map((row) => row.took).sort((a, b) => a - b);
    return [model, [0.05, 0.25, 0.5, 0.75, 0.95].map((share) => quantile(durations, share))];
  });
  const most = roundUp(maximum(boxes.map(([, quantiles]) => quantiles[4])));
  const line = Math.max(28, FLOOR / boxes.length), height = boxes.length * line + BOTTOM;
  const svg = createChart("Durations of jobs by model: the box holds the middle half, the line nine in ten", height);
  const x = (value) => (value / most) * (WIDTH - 4) + 2;
  for (const [share, anchor] of SCALE_ENDS) {
    svg.append(createSvg("line", { class: "rule", x1: x(most * share), x2: x(most * share), y1: 0, y2: height - BOTTOM }));
    svg.append(createSvg("text", { x: x(most * share), y: height - 4, "text-anchor": anchor }, formatSeconds(most * share)));
  }
  boxes.forEach(([model, [p5, p25, p50, p75, p95]], index) => {
    const y = index * line + (line - 28) / 2, name = model.length > 30 ? `${model.slice(0, 29)}…` : model;
    svg.append(createSvg("g", {},
      createSvg("title", {}, `${model}: half took ${formatSeconds(p25)} to ${formatSeconds(p75)}, nine in ten ${formatSeconds(p5)} to ${formatSeconds(p95)}`),
      createSvg("text", { class: "name", x: 2, y: y + 11 }, name),
      createSvg("text", { x: WIDTH, y: y + 11, "text-anchor": "end" }, `median ${formatSeconds(p50)}`),
      createSvg("line", { class: "whisker", x1: x(p5), x2: x(p95), y1: y + 20, y2: y + 20 }),
      createSvg("rect", { class: "box", x: x(p25), y: y + 15, width: Math.max(1, x(p75) - x(p25)), height: 10, rx: 2 }),
      createSvg("line", { class: "middle", x1: x(p50), x2: x(p50), y1: y + 14, y2: y + 26 })));
  });
  addChart("Durations of jobs", models.length > MAX_MODELS ? `${MAX_MODELS} of ${models.length} models` : "half in the box", svg);
}

function showPolls() {
  const counts = rows.filter((row) => row.polls).map((row) => row.polls);
  if (!counts.length) return;
  const top = Math.min(maximum(counts), 20), bars = new Array(top + 1).fill(0);
  for (const count of counts) bars[Math.min(count, top)] += 1;
  const most = roundUp(maximum(bars)), svg = createChart("Polls per job until it ended"), step = (WIDTH - LEFT) / top;
  addGrid(svg, most);
  for (let count = 1; count <= top; count += 1) {
    const x = LEFT + (count - 1) * step, height = barHeight(bars[count], most);
    const title = createSvg("title", {}, `${formatNumber(bars[count])} jobs were polled ${count} times`);
    svg.append(createSvg("rect", { class: "bar", x: x + 1, y: FLOOR - height, width: step - 2, height }, title));
    if (top <= 10 || count % 3 === 1) {
      const more = count === top && maximum(counts) > top ? "+" : "";
      svg.append(createSvg("text", { x: x + step / 2, y: HEIGHT - 4, "text-anchor": "middle" }, `${count}${more}`));
    }
  }
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  addChart("Polls per job", `${mean.toFixed(1)} on average`, svg);
}

// --- cards ----------------------------------------------------------------------------------------------------------

function createWaveform(levels) {
  const bars = levels.map((level, index) => {
    const height = Math.max(2, level * 0.46);
    return createSvg("rect", { x: index * 6 + 1, y: 50 - height, width: 4, height: 2 * height, rx: 2 });
  });
  return createSvg("svg", { class: "wave", viewBox: `0 0 ${levels.length * 6} 100`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars);
}

function createMedia(row) {
  const [first, ...others] = row.files || [];
  if (!first) {
    const reason = row.why ? createElement("span", { textContent: row.why, title: row.why }) : "";
    return createElement("div", { className: `media none${hasFailed(row) ? " bad" : ""}` }, createElement("strong", { textContent: row.code || row.state }), reason);
  }
  const [path, kind, , data] = first, label = row.prompt || row.name, box = createElement("div", { className: "media" });
  if (kind === "audio") {
    box.classList.add("sound");
    if (row.wave) box.append(createWaveform(row.wave));
    box.append(createElement("audio", { controls: true, preload: "none", src: data || path, title: label }));
  } else if (kind === "video") {
    box.append(createElement("video", { controls: true, loop: true, playsInline: true, preload: row.thumb ? "none" : "metadata", poster: row.thumb || "", src: data || path, title: label }));
  } else if (kind === "image") {
    const image = createElement("img", { loading: data ? "eager" : "lazy", decoding: "async", alt: label, src: data || row.thumb || path });
    box.append(createElement("a", { href: path }, image));
  } else {
    box.append(createElement("a", { href: path }, createElement("div", { className: "none", textContent: decodeURI(path) })));
  }
  if (others.length) box.append(createElement("span", { className: "more" }, ...others.map(([other], index) => createElement("a", { href: other, textContent: index + 2, title: decodeURI(other) }))));
  return box;
}

const createFileLinks = (row) => (row.files || []).map(([path, , size]) => createElement("a", { href: path, textContent: `${formatSize(size)} ${path.split(".").at(-1)}` }));

function createCard(row) {
  const details = [
    createElement("span", { className: "model", textContent: row.model }),
    createElement("span", { className: "state", textContent: formatState(row) }),
  ];
  if (row.took != null) details.push(createElement("span", { textContent: formatSeconds(row.took) }));
  if (row.credits) details.push(createElement("span", { textContent: `${formatNumber(row.credits)} cr` }));
  if (row.buys > 1) details.push(createElement("span", { textContent: `bought ${row.buys} times` }));
  if (facts.isSmall) details.push(...createFileLinks(row));
  else details.push(createElement("span", { textContent: row.name, title: `line ${row.line}${row.task ? `, ${row.task}` : ""}` }));
  const button = createElement("button", { type: "button", className: "prompt", title: "Show details" }, createElement("span", { textContent: row.prompt || row.name }));
  button.addEventListener("click", () => showRow(matching.indexOf(row)));
  const text = createElement("div", { className: "text" }, button);
  if (facts.isSmall && row.params) {
    text.append(createElement("ul", { className: "params" }, ...row.params.map(([name, value]) => createElement("li", {}, createElement("span", { textContent: name }), ` ${value}`))));
  }
  text.append(createElement("p", { className: "facts" }, ...details));
  return createElement("li", { className: `card ${row.state}` }, createMedia(row), text);
}

// --- the dialog of one row ------------------------------------------------------------------------------------------

let position = 0;

function createFullMedia([path, kind, , data], row) {
  if (kind === "audio") return createElement("audio", { controls: true, src: data || path });
  if (kind === "video") return createElement("video", { controls: true, src: data || path, poster: row.thumb || "" });
  if (kind !== "image") return createElement("a", { href: path, textContent: decodeURI(path) });
  const image = createElement("img", { src: data || path, alt: row.prompt || row.name });
  image.addEventListener("error", () => { if (row.thumb) image.src = row.thumb; }, { once: true });
  return createElement("a", { href: path }, image);
}

function showRow(index) {
  const row = matching[position = index];
  const members = [
    ["Model", row.model], ["Name", row.name], ["Line", row.line], ["Job", row.task], ["Sent", row.at && formatTime(row.at)],
    ["Ended", row.end && formatTime(row.end)], ["Took", row.took != null && formatSeconds(row.took)], ["Polls", row.polls || null],
    ["Credits", row.credits != null && formatNumber(row.credits)], ["Purchases", row.buys > 1 && row.buys], ...(row.params || []),
  ].filter(([, value]) => value || value === 0);
  const details = createElement("div", { className: "details" }, createElement("h2", { id: "row-title", textContent: row.prompt || row.name }),
    createElement("p", { className: `state ${row.state}`, textContent: `${formatState(row)}${row.code ? `: ${row.code}` : ""}` }));
  if (row.why) details.append(createElement("p", { className: "why", textContent: row.why }));
  details.append(createElement("dl", {}, ...members.flatMap(createTerm)));
  const media = createElement("div", { className: "full" }, ...(row.files || []).map((file) => createFullMedia(file, row)));
  $("row-content").replaceChildren(media, details);
  $("position").textContent = `${formatNumber(index + 1)} of ${formatNumber(matching.length)}`;
  if (!$("row-dialog").open) $("row-dialog").showModal();
  $("row-content").scrollTop = 0;
}

function setUpDialog() {
  const dialog = $("row-dialog"), step = (by) => { if (matching[position + by]) showRow(position + by); };
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  dialog.addEventListener("close", () => { if (!dialog.open) $("row-content").replaceChildren(); }); // stops playback
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("audio, video")) return; // arrow keys seek there
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
}

// --- the gallery ----------------------------------------------------------------------------------------------------

let matching = rows, shown = 0;

const observer = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting) && shown < matching.length) showMore();
}, { rootMargin: "1200px" });

function showMore() {
  $("cards").append(...matching.slice(shown, shown + CARDS_PER_STEP).map(createCard));
  shown = Math.min(shown + CARDS_PER_STEP, matching.length);
  $("end").textContent = shown < matching.length ? "…" : matching.length ? "" : "No row matches.";
  observer.unobserve($("end")); // observing again reports the end that has stayed within the margin
  observer.observe($("end"));
}

// --- filters --------------------------------------------------------------------------------------------------------

const chosen = { states: new Set(), models: new Set(), codes: new Set() };
const members = { states: "state", models: "model", codes: "code" };

function applyFilters() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  matching = rows.filter((row) => {
    for (const [group, values] of Object.entries(chosen)) if (values.size && !values.has(row[members[group]])) return false;
    const text = `${row.prompt || ""} ${row.name} ${row.task || ""} ${row.why || ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  $("cards").replaceChildren();
  shown = 0;
  showMore();
  $("count").textContent = matching.length === rows.length ? formatNumber(rows.length) : `${formatNumber(matching.length)} of ${formatNumber(rows.length)}`;
  for (const button of document.querySelectorAll("fieldset button")) {
    button.setAttribute("aria-pressed", String(chosen[button.dataset.group].has(button.dataset.value)));
  }
  const fragment = new URLSearchParams();
  for (const [group, values] of Object.entries(chosen)) for (const value of values) fragment.append(group, value);
  if ($("search").value) fragment.set("search", $("search").value);
  history.replaceState(null, "", `#${fragment}`);
}

function toggleFilter(group, value, isOnly = false) {
  if (isOnly) chosen[group].clear();
  if (!chosen[group].delete(value)) chosen[group].add(value);
  applyFilters();
}

function setUpFilters() {
  for (const group of Object.keys(chosen)) {
    const values = countValues(rows.map((row) => row[members[group]]));
    $(group).hidden = values.length < (group === "codes" ? 1 : 2) || (group === "models" && facts.isSmall);
    for (const [value, count] of values.slice(0, 40)) {
      const button = createElement("button", { type: "button", textContent: value }, createElement("b", { textContent: formatNumber(count) }));
      Object.assign(button.dataset, { group, value });
      button.addEventListener("click", () => toggleFilter(group, value));
      $(group).append(button);
    }
  }
  let typing;
  $("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(applyFilters, 100); });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("gallery").focus(); });
  addEventListener("hashchange", () => { readFragment(); applyFilters(); });
}

function readFragment() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  for (const group of Object.keys(chosen)) chosen[group] = new Set(fragment.getAll(group));
  $("search").value = fragment.get("search") || "";
}

function showFailures() {
  $("failures").hidden = !failedRows.length;
  for (const [code, count] of countValues(failedRows.map((row) => row.code))) {
    const group = failedRows.filter((row) => row.code === code);
    const reason = createElement("details", {}, createElement("summary", {},
      createElement("b", { textContent: formatNumber(count) }), createElement("code", { textContent: code }), createElement("span", { textContent: group[0].why || "" })));
    reason.addEventListener("toggle", () => reason.append(createFailureList(code, group)), { once: true });
    $("reasons").append(createElement("li", {}, reason));
  }
}

function createFailureList(code, group) {
  const button = createElement("button", { type: "button", className: "all", textContent: "Only these in the gallery" });
  button.addEventListener("click", () => { toggleFilter("codes", code, true); $("gallery").focus(); $("gallery").scrollIntoView(); });
  return createElement("div", { className: "each" }, button, createElement("ol", {}, ...group.map((row) => createElement("li", {},
    createElement("code", { textContent: row.name }), createElement("span", { textContent: row.model }), createElement("span", { textContent: row.why || row.state })))));
}

showTotals();
if (endedRows.length) {
  showRate();
  showSpend();
}
showDurations();
showPolls();
showFailures();
setUpDialog();
setUpFilters();
if (facts.isSmall) { // results first, and no filters where all rows are alike
  $("gallery").after($("charts"));
  $("gallery").classList.toggle("plain", rows.length > 0 && !failedRows.length);
}
readFragment();
applyFilters();
