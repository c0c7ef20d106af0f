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

// What an element is, so that it is found again in the new page: its own name within the nearest part
// that has one, and which of those that are called alike it is. Texts count where nothing else does.
function named(each) {
  const text = each.matches("details, summary, button") ? each.querySelector("h2")?.textContent || each.textContent : "";
  const said = each.id || each.getAttribute("href") || each.getAttribute("name") || each.getAttribute("aria-label") || text;
  return `${each.tagName} ${said.trim()}`;
}
function within(each) {
  const part = each.parentElement.closest("[id], nav, section");
  return part ? part.id || named(part) + (part.querySelector("h2")?.firstChild.textContent || "") : "";
}
function identified(all) {
  const before = new Map();
  return new Map([...all].map((each) => {
    const name = JSON.stringify([within(each), named(each)]);
    const number = before.get(name) || 0;
    before.set(name, number + 1);
    return [`${number} ${name}`, each];
  }));
}
const FOCUSED = "a[href], button, input, select, textarea, summary, [tabindex]";

async function renew() {
  const present = await (await fetch(run + "version")).text();
  if (present === shown) return;
  const reply = await fetch(location.href);
  if (!reply.ok || busy()) return;
  const page = new DOMParser().parseFromString(await reply.text(), "text/html");
  const before = document.getElementById("main");
  const after = page.getElementById("main");
  const open = identified(before.querySelectorAll("details"));
  identified(after.querySelectorAll("details")).forEach((each, name) => { each.open = Boolean(open.get(name)?.open); });
  const here = document.activeElement;
  const held = before.contains(here) && [...identified(before.querySelectorAll(FOCUSED))].find(([, each]) => each === here);
  const scrolled = [...before.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  before.replaceWith(document.adoptNode(after));
  [...after.querySelectorAll(".scroll")].forEach((each, n) => { each.scrollLeft = scrolled[n] || 0; });
  const again = held && identified(after.querySelectorAll(FOCUSED)).get(held[0]);
  if (again) again.focus({ preventScroll: true });
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
