// Shows /openapi.json: each operation with its parameters and what it answers.
function make(tag, text = "", style = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (style) made.className = style;
  return made;
}

let components = {};
const resolved = (schema) => (schema?.$ref ? components[schema.$ref.split("/").pop()] : schema) ?? {};

function typed(schema) {
  if (schema?.$ref) return schema.$ref.split("/").pop();
  const any = schema?.anyOf ?? schema?.oneOf;
  if (any) return any.map(typed).join(" or ");
  if (schema?.type === "array") return `list of ${typed(schema.items)}`;
  if (schema?.type === "object" && schema.additionalProperties) return `map to ${typed(schema.additionalProperties)}`;
  return [schema?.type ?? "anything", schema?.format].filter(Boolean).join(", ");
}

function table(rows) {
  const made = make("table");
  for (const [name, type, about] of rows) {
    const row = made.insertRow();
    row.insertCell().append(make("span", name, "mono"));
    row.insertCell().append(make("span", type, "soft"));
    row.insertCell().append(make("span", about ?? ""));
  }
  return made;
}

// The schemas that `schema` is made of, itself first, each once.
function parts(schema, seen = new Map()) {
  const name = schema?.$ref?.split("/").pop();
  if (name && seen.has(name)) return seen;
  const whole = resolved(schema);
  if (name) seen.set(name, whole);
  const inner = [...Object.values(whole.properties ?? {}), whole.items, ...(whole.anyOf ?? [])];
  inner.filter(Boolean).forEach((one) => parts(one, seen));
  return seen;
}

function operation(path, method, said) {
  const section = make("section", "", "operation");
  const heading = section.appendChild(make("h3"));
  heading.append(make("span", method.toUpperCase(), "method mono"), make("span", path, "mono"));
  section.append(make("p", said.description ?? said.summary ?? ""));
  const parameters = said.parameters ?? [];
  if (parameters.length) {
    section.append(table(parameters.map((one) => [one.name, `${one.in}, ${typed(one.schema)}`, one.description])));
  }
  const answers = section.appendChild(make("details"));
  answers.append(make("summary", `answers ${Object.keys(said.responses).join(", ")}`));
  const schema = said.responses["200"]?.content?.["application/json"]?.schema;
  for (const [name, whole] of parts(schema)) {
    answers.append(make("p", name, "mono"));
    answers.append(table(Object.entries(whole.properties ?? {}).map(([key, one]) => [key, typed(one), one.description])));
  }
  return section;
}

function show(api) {
  components = api.components?.schemas ?? {};
  document.getElementById("title").textContent = `${api.info.title} API`;
  document.getElementById("about").textContent = `${api.info.summary ?? ""} Version ${api.info.version}.`;
  const tags = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, said] of Object.entries(methods)) {
      const tag = said.tags?.[0] ?? "other";
      tags.set(tag, [...(tags.get(tag) ?? []), operation(path, method, said)]);
    }
  }
  const operations = document.getElementById("operations");
  for (const [tag, sections] of tags) operations.append(make("h2", tag), ...sections);
}

const answer = await fetch("/openapi.json");
if (answer.ok) show(await answer.json());
else document.getElementById("operations").append(make("p", `No answer: ${answer.status}`, "bad"));
