// The status page: asks for the services once a second and writes what they say into a table.
const KEPT = 120;
const history = new Map(); // service -> its last backlogs
const rows = new Map(); // service -> its row

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const count = (n) => (n < 100000 ? whole.format(n) : compact.format(n));
const perSecond = (n) => `${n < 10 ? Number(n.toFixed(1)) : count(n)}/s`;
const rate = (n) => (n === null ? "unlimited" : perSecond(n));

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const unit = n < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(n) / 10));
  return `${Number((n / 1024 ** unit).toFixed(1))} ${units[unit]}`;
}

function span(seconds) {
  if (seconds === null) return "not now";
  if (seconds === 0) return "–";
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

const REASONS = {
  ceiling: "at its rate",
  concurrency: "all attempts in flight",
  retry_after: "asked to wait",
  breaker: "breaker open",
  ramp: "ramping up",
  adaptive: "adaptive limit",
  paused: "paused",
};

// What holds the service back, worst first: [class, words, more words].
function standing(service, backlog) {
  if (service.paused) return ["warn", "paused", ""];
  if (service.resting) {
    const left = Math.max(0, (Date.parse(service.resting.until) - Date.now()) / 1000);
    const why = service.resting.reason === "connect" ? "does not answer" : service.resting.reason.replaceAll("_", " ");
    return ["bad", "resting", `${why}, again in ${Math.ceil(left)} s`];
  }
  const [reason, part] = Object.entries(service.throttled)[0] ?? [];
  if (reason && part >= 0.05) return ["good", REASONS[reason] ?? reason, `${Math.min(100, Math.round(part * 100))} % of the time`];
  if (backlog) return ["good", "draining", ""];
  return ["good", service.rates.accepted > 0 ? "keeping up" : "idle", ""];
}

function cell(row, kind) {
  const td = row.insertCell();
  if (kind) td.className = kind;
  const main = td.appendChild(document.createElement("span"));
  const more = td.appendChild(document.createElement("span"));
  more.className = "soft small";
  return { td, write: (text, second = "", style = "") => { main.textContent = text; main.className = style; more.textContent = second; } };
}

const SVG = "http://www.w3.org/2000/svg";

function newRow(name) {
  const row = document.getElementById("services").insertRow();
  const made = { row, name: cell(row), state: cell(row), backlog: cell(row, "number") };
  const svg = row.insertCell().appendChild(document.createElementNS(SVG, "svg"));
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 30`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `backlog of ${name}`);
  made.line = svg.appendChild(document.createElementNS(SVG, "path"));
  for (const column of ["in", "out", "rate", "eta", "dead"]) made[column] = cell(row, "number");
  rows.set(name, made);
  return made;
}

function drawn(values) {
  const top = Math.max(1, ...values);
  const from = KEPT - values.length;
  return values.map((v, i) => `${i ? "L" : "M"}${from + i} ${(28 - (26 * v) / top).toFixed(1)}`).join("");
}

function show(service) {
  const { ready, delayed, in_flight } = service.backlog;
  const backlog = ready + delayed + in_flight;
  const values = history.get(service.name) ?? [];
  values.push(backlog);
  history.set(service.name, values.slice(-KEPT));
  const row = rows.get(service.name) ?? newRow(service.name);
  const [style, state, why] = standing(service, backlog);
  row.name.write(service.name, service.to.join(", "), "big");
  row.state.write(state, why, `dot ${style}`);
  const parts = [delayed && `${count(delayed)} delayed`, service.backlog.bytes && bytes(service.backlog.bytes)];
  row.backlog.write(count(backlog), parts.filter(Boolean).join(" · "), "big");
  row.line.setAttribute("d", drawn(history.get(service.name)));
  row.in.write(perSecond(service.rates.accepted), service.held ? `${count(service.held)} held` : "");
  row.out.write(perSecond(service.rates.delivered), service.in_flight ? `${count(service.in_flight)} in flight` : "");
  const less = service.rate_allowed !== service.rate_limit;
  row.rate.write(rate(service.rate_allowed), less ? `of ${rate(service.rate_limit)}` : "");
  row.eta.write(span(backlog ? service.drain_eta_seconds : 0));
  row.dead.write(count(service.dead_letters), "", service.dead_letters ? "bad" : "");
}

function say(text, style) {
  const connection = document.getElementById("connection");
  connection.textContent = text;
  connection.className = `small dot ${style}`;
}

let answered = null;

async function look() {
  try {
    const response = await fetch("/api/v1/services", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`${response.status} ${(await response.json()).detail ?? ""}`);
    const { services } = await response.json();
    services.forEach(show);
    for (const [name, { row }] of rows) {
      if (services.some((service) => service.name === name)) continue;
      row.remove();
      rows.delete(name);
      history.delete(name);
    }
    document.getElementById("empty").hidden = services.length > 0;
    answered = new Date();
    say("live", "good");
  } catch (error) {
    const since = answered ? ` – the numbers are of ${answered.toLocaleTimeString()}` : "";
    say(`no answer (${error.message})${since}`, "bad");
  }
  setTimeout(look, 1000);
}

look();
