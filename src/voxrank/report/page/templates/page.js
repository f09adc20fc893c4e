"use strict";
// Draws the charts, sorts the tables, and opens folded parts for printing.
window.voxrank = (() => {
  const page = JSON.parse(document.getElementById("payload").textContent);
  const drawn = new Map(); // id of a chart → { said: its spec as text, result: the result of vegaEmbed }

  async function draw(id) {
    const place = document.getElementById("chart-" + id);
    if (!place) return;
    const said = JSON.stringify([page.charts[id], usesShared(id) && page.datasets]);
    const before = drawn.get(id);
    if (before && before.said === said) {
      if (before.holder !== place) place.replaceWith(before.holder);
      return;
    }
    const spec = structuredClone(page.charts[id]);
    if (usesShared(id)) spec.datasets = { ...spec.datasets, ...page.datasets };
    try {
      const result = await vegaEmbed(place, spec, {
        ast: true, // interprets expressions, so that no code is generated from text
        actions: false,
        renderer: "svg",
        defaultStyle: false,
        config: page.config,
        tooltip: { disableDefaultStyle: true },
      });
      if (before) before.result.finalize();
      drawn.set(id, { said, result, holder: place });
    } catch (error) {
      place.textContent = "This chart could not be drawn; the table has what it shows.";
      place.className = "failed";
      console.error(error);
    }
  }

  const usesShared = (id) => {
    const spec = page.charts[id];
    return [spec, ...(spec.layer || [])].some((one) => one.data && one.data.name in page.datasets);
  };

  async function drawAll() {
    for (const id of Object.keys(page.charts)) await draw(id);
    document.documentElement.dataset.drawn = String(Object.keys(page.charts).length);
  }

  function sort(heading, ascending) {
    const table = heading.closest("table");
    const body = table.tBodies[0];
    const key = (row) => row.cells[heading.cellIndex].dataset.key;
    const rows = [...body.rows];
    const numeric = rows.every((row) => key(row) === "" || !Number.isNaN(Number(key(row))));
    const order = numeric ? (a, b) => Number(a) - Number(b) : (a, b) => a.localeCompare(b, undefined, { numeric: true });
    rows.sort((one, other) => {
      const [a, b] = [key(one), key(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      return ascending ? order(a, b) : order(b, a);
    });
    body.append(...rows);
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("thead button");
    if (button) {
      const heading = button.closest("th");
      sort(heading, heading.getAttribute("aria-sort") !== "ascending");
      return;
    }
    const copy = event.target.closest("button.copy");
    if (copy) {
      try {
        await navigator.clipboard.writeText(document.getElementById(copy.dataset.copies).textContent);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(document.getElementById(copy.dataset.copies));
        copy.textContent = "Selected";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 2000);
    }
  });

  function ready(root) {
    for (const copy of root.querySelectorAll("button.copy")) copy.hidden = false;
  }

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
    opened = [];
  });

  ready(document);
  drawAll();
  return { page, drawAll, sort, ready };
})();
