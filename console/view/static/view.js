// Asks every few seconds whether the run has changed, and puts the new page in place of the old
// one. Everything works without it, only not by itself.
"use strict";

const { version, run, seconds } = document.body.dataset;
let shown = version;

// A person who is typing, or has marked something to copy, is not disturbed.
function busy() {
  const here = document.activeElement;
  const typing = here && /^(INPUT|SELECT|TEXTAREA)$/.test(here.tagName);
  return typing || document.hidden || !document.getSelection().isCollapsed;
}

function places(main) {
  return [...main.querySelectorAll("details")].map((each) => each.open);
}

async function renew() {
  const present = await (await fetch(run + "version")).text();
  if (present === shown) return;
  const reply = await fetch(location.href);
  if (!reply.ok || busy()) return;
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  const before = document.getElementById("main");
  const after = page.getElementById("main");
  const open = places(before);
  [...after.querySelectorAll("details")].forEach((each, n) => { each.open = Boolean(open[n]); });
  const scrolled = [...before.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  before.replaceWith(document.adoptNode(after));
  [...after.querySelectorAll(".scroll")].forEach((each, n) => { each.scrollLeft = scrolled[n] || 0; });
  shown = page.body.dataset.version;
}

// A server that has gone says nothing; when it is there again, the page goes on.
if (run) setInterval(() => { if (!busy()) renew().catch(() => {}); }, 1000 * Number(seconds));

// Filters take effect when they are chosen. By keyboard, the page that they lead to begins in the
// same field, so that the arrow keys go on through its options.
let keyed = false;
document.addEventListener("keydown", () => { keyed = true; });
document.addEventListener("pointerdown", () => { keyed = false; });
document.addEventListener("change", (event) => {
  const form = event.target.closest("form.filters");
  if (!form || form.method !== "get" || event.target.tagName !== "SELECT") return;
  if (keyed) sessionStorage.setItem("chosen", `${location.pathname} ${event.target.name}`);
  form.requestSubmit();
});
const [path, field] = (sessionStorage.getItem("chosen") || "").split(" ");
sessionStorage.removeItem("chosen");
if (field && path === location.pathname) {
  const chosen = document.querySelector(`form.filters select[name="${CSS.escape(field)}"]`);
  if (chosen) chosen.focus();
}

// "/" leads to the search, as elsewhere.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || busy()) return;
  const search = document.querySelector("input[type=search]");
  if (search) { event.preventDefault(); search.focus(); }
});

// Loading the models takes a while, in which nothing else shows that something happens.
const question = document.querySelector("form.question");
if (question) {
  const button = question.querySelector("button");
  const before = button.textContent;
  question.addEventListener("submit", () => { button.textContent = "Asking..."; button.disabled = true; });
  window.addEventListener("pageshow", () => { button.textContent = before; button.disabled = false; });
}
