// What the page shows, in its address: ``#task=…&q=…``. Works from disk, where nothing but the part after # may change.
"use strict";

const Address = (() => {
  const read = () => Object.fromEntries(new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : ""));

  // Leaves out what is empty.
  function text(state) {
    return new URLSearchParams(Object.entries(state).filter(([, value]) => value !== "" && value !== null && value !== undefined)).toString();
  }

  function write(state) {
    const words = text(state);
    history.replaceState(null, "", words ? `#${words}` : location.pathname + location.search);
  }

  // Calls back when somebody pastes another address into this page.
  const watch = (changed) => addEventListener("hashchange", () => (location.hash === "" || location.hash.includes("=")) && changed());

  // Links back to the standings lead to the view that the reader came from, which the address of this page holds.
  const { back } = read();
  if (back) for (const link of document.querySelectorAll("[data-back]")) link.hash = back;

  return { read, write, text, watch };
})();
