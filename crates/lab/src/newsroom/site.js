// Times in the reader's own zone and language; the page is complete without this.
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.getTime())) {
    time.textContent = at.toLocaleString(document.documentElement.lang, { dateStyle: "long", timeStyle: "short" });
  }
}

// "/" puts the cursor into the search field, as on most news sites.
document.addEventListener("keydown", (event) => {
  const field = document.querySelector("input[type=search]");
  if (event.key === "/" && field && !/^(input|textarea|select)$/i.test(document.activeElement?.tagName ?? "")) {
    event.preventDefault();
    field.focus();
  }
});

// The size of the text is kept in this browser only.
const size = Number(localStorage.getItem("text-size"));
if (size >= 0.8 && size <= 1.6) {
  document.documentElement.style.fontSize = `${18 * size}px`;
}
document.addEventListener("keyup", (event) => {
  if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
  const now = Number(localStorage.getItem("text-size")) || 1;
  const next = Math.min(1.6, Math.max(0.8, now + (event.key === "ArrowUp" ? 0.1 : -0.1)));
  localStorage.setItem("text-size", next.toFixed(1));
  document.documentElement.style.fontSize = `${18 * next}px`;
});
