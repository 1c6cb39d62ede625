"use strict";
// Split long tables into pages; without this script they are complete.
for (const table of document.querySelectorAll("table.paged")) {
  const rows = [...table.tBodies[0].rows], size = Number(table.dataset.size);
  if (rows.length <= size) continue;
  const pager = document.createElement("div"), search = document.createElement("input");
  const previous = document.createElement("button"), next = document.createElement("button"), position = document.createElement("span");
  pager.className = "pager";
  search.type = "search";
  search.placeholder = "Find in names, causes, reasons";
  search.setAttribute("aria-label", "find in " + table.getAttribute("aria-label"));
  previous.textContent = "Previous";
  next.textContent = "Next";
  position.setAttribute("aria-live", "polite");
  pager.append(search, previous, next, position);
  table.before(pager);
  const texts = rows.map(row => row.textContent.toLowerCase());
  let page = 0;
  const update = () => {
    const query = search.value.toLowerCase(), matches = rows.filter((_, n) => texts[n].includes(query));
    const last = Math.max(0, Math.ceil(matches.length / size) - 1);
    page = Math.min(page, last);
    const visible = new Set(matches.slice(page * size, (page + 1) * size));
    for (const row of rows) row.hidden = !visible.has(row);
    previous.disabled = page === 0;
    next.disabled = page === last;
    position.textContent = matches.length
      ? `${page * size + 1} to ${page * size + visible.size} of ${matches.length}` : "no match";
  };
  search.addEventListener("input", () => { page = 0; update(); });
  previous.addEventListener("click", () => { page -= 1; update(); });
  next.addEventListener("click", () => { page += 1; update(); });
  update();
}
// Touch screens have no tooltips: write the reason of a tapped span under the time bar.
document.addEventListener("click", event => {
  const span = event.target.closest(".bar rect"), title = span && span.querySelector("title");
  const reason = span && span.closest("td") && span.closest("td").querySelector(".reason");
  if (reason && title) reason.textContent = title.textContent;
});
