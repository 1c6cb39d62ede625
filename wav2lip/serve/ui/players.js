// Buttons in HTML components, and a note in place of media that the browser cannot play.
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.job) trigger("click", { job: button.dataset.job });
  if (button.dataset.action === "play") {
    const before = element.querySelector("[data-role=before]");
    const after = element.querySelector("[data-role=after]");
    if (before) before.muted = true;
    for (const video of [before, after]) {
      if (!video) continue;
      video.currentTime = 0;
      video.play();
    }
  }
});
element.addEventListener("error", (event) => {
  const media = event.target;
  if (!["VIDEO", "AUDIO", "IMG"].includes(media.tagName)) return;
  const note = document.createElement("div");
  note.className = "empty";
  note.textContent = "This browser has no preview for this format. You can still use the file.";
  media.replaceWith(note);
}, true);
