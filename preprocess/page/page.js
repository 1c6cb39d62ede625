"use strict";
// Long tables are shown a page at a time; without this script they are whole.
for (const table of document.querySelectorAll("table.paged")) {
  const rows = [...table.tBodies[0].rows], size = Number(table.dataset.size);
  if (rows.length <= size) continue;
  const pager = document.createElement("div"), find = document.createElement("input");
  const back = document.createElement("button"), on = document.createElement("button"), where = document.createElement("span");
  pager.className = "pager";
  find.type = "search";
  find.placeholder = "Find in names, causes, reasons";
  find.setAttribute("aria-label", "find in " + table.getAttribute("aria-label"));
  back.textContent = "Back";
  on.textContent = "Next";
  where.setAttribute("aria-live", "polite");
  pager.append(find, back, on, where);
  table.before(pager);
  const texts = rows.map(row => row.textContent.toLowerCase());
  let page = 0;
  const show = () => {
    const wanted = find.value.toLowerCase(), found = rows.filter((_, n) => texts[n].includes(wanted));
    const last = Math.max(0, Math.ceil(found.length / size) - 1);
    page = Math.min(page, last);
    const seen = new Set(found.slice(page * size, (page + 1) * size));
    for (const row of rows) row.hidden = !seen.has(row);
    back.disabled = page === 0;
    on.disabled = page === last;
    where.textContent = found.length
      ? `${page * size + 1} to ${page * size + seen.size} of ${found.length}` : "nothing found";
  };
  find.addEventListener("input", () => { page = 0; show(); });
  back.addEventListener("click", () => { page -= 1; show(); });
  on.addEventListener("click", () => { page += 1; show(); });
  show();
}
// A tap has no hover: what a part of a time bar stands for is written under it.
document.addEventListener("click", event => {
  const part = event.target.closest(".bar rect"), title = part && part.querySelector("title");
  const why = part && part.closest("td") && part.closest("td").querySelector(".why");
  if (why && title) why.textContent = title.textContent;
});
