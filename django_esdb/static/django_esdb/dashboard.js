// Keeps the dashboard's figures up to date: asks for them, and changes on the page
// what has changed, so that what is read, focused or selected stays where it is.
(() => {
  "use strict";

  const EVERY_MS = 5000;
  const LONGEST_PAUSE_MS = 60000;
  const DEADLINE_MS = 20000;

  const dashboard = document.querySelector(".esdb-dashboard");
  if (!dashboard) return;
  const message = dashboard.querySelector(".esdb-message");
  let pause = EVERY_MS;
  let timer = null;
  let isAsking = false;

  class Refused extends Error {}

  async function ask() {
    const response = await fetch(dashboard.dataset.figures, {
      credentials: "same-origin",
      // To the login page.
      redirect: "manual",
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    if (response.type === "opaqueredirect" || [401, 403, 404].includes(response.status)) {
      throw new Refused();
    }
    if (!response.ok) throw new Error(`status ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const figures = page.querySelector(".esdb-dashboard .esdb-figures");
    if (!figures) throw new Error("no figures");
    return figures;
  }

  function change(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeName !== fresh.nodeName || old.nodeType !== Node.ELEMENT_NODE) {
      old.replaceWith(document.importNode(fresh, true));
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
    after.forEach((child, index) => {
      if (index < before.length) change(before[index], child);
      else old.append(document.importNode(child, true));
    });
    before.slice(after.length).forEach((child) => child.remove());
  }

  function say(text) {
    // A screen reader reads it each time that it is set.
    if (message.textContent !== text) message.textContent = text;
    dashboard.classList.toggle("esdb-old", text !== "");
  }

  async function look() {
    if (isAsking) return;
    isAsking = true;
    try {
      change(dashboard.querySelector(".esdb-figures"), await ask());
      say("");
      pause = EVERY_MS;
    } catch (error) {
      say(error instanceof Refused ? dashboard.dataset.refused : dashboard.dataset.old);
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
    isAsking = false;
    plan();
  }

  function plan() {
    clearTimeout(timer);
    // A hidden page is not looked at.
    if (!document.hidden) timer = setTimeout(look, pause);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) plan();
    else look();
  });
  // Pages that come back from the browser's cache have old figures.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) look();
  });
  plan();
})();
