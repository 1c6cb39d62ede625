// Buttons inside the page's own HTML, and players for what this browser cannot show.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.job) trigger("click", { job: button.dataset.job });
  if (button.dataset.do === "both") {
    const before = element.querySelector("[data-part=before]");
    const after = element.querySelector("[data-part=after]");
    if (before) before.muted = true;
    for (const video of [before, after]) {
      if (!video) continue;
      video.currentTime = 0;
      video.play();
    }
  }
});
element.addEventListener("error", (event) => {
  const shown = event.target;
  if (!["VIDEO", "AUDIO", "IMG"].includes(shown.tagName)) return;
  const note = document.createElement("div");
  note.className = "empty";
  note.textContent = "This browser cannot show this file. It can be used all the same.";
  shown.replaceWith(note);
}, true);
