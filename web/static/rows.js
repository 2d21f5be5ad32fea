// Rows, cells and keys of tables and plots that scripts fill.

/** A row with its head. */
export function row(head, ...cells) {
  const element = document.createElement("tr"), title = document.createElement("th");
  title.scope = "row";
  title.textContent = head;
  element.append(title, ...cells);
  return element;
}

/** The row of a table's head. */
export function head(labels) {
  const element = document.createElement("tr");
  element.append(...labels.map((label) => {
    const title = document.createElement("th");
    title.scope = "col";
    title.textContent = label;
    return title;
  }));
  return element;
}

/** A cell; narrow screens show its label before it. */
export function cell(label, text, kind = "") {
  const element = document.createElement("td");
  if (label) element.dataset.label = label;
  if (kind) element.className = kind;
  element.textContent = text;
  return element;
}

/** An entry of a plot's keys; `name` is that of its colour. */
export function key(text, name) {
  const item = document.createElement("li"), swatch = document.createElement("span"), words = document.createElement("bdi");
  swatch.className = `swatch s${name}`;
  words.textContent = text;
  item.append(swatch, words);
  return item;
}
