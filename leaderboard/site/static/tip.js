// Explanations of words on the spot: a click (or Enter, or Space) on the word shows its explanation, and another one hides
// it, as Escape does; pointing at the word shows it for as long. And buttons that copy the command next to them.
"use strict";

const Tips = (() => {
  const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
  const text = document.createElement("span");
  const more = Object.assign(document.createElement("a"), { textContent: "More in “How to read this”" });
  tip.append(text, " ", more);
  let shown = null;
  let stays = false; // it was asked for with a click, and stays when the pointer leaves

  function show(word, stay) {
    if (shown !== word) {
      hide();
      shown = word;
      text.textContent = word.dataset.tip;
      more.href = word.dataset.more;
      word.setAttribute("aria-expanded", "true");
      word.setAttribute("aria-controls", tip.id);
      word.after(tip);
      tip.hidden = false;
      place();
    }
    stays = stay;
  }

  // Also while the page scrolls.
  function place() {
    if (!shown) return;
    const at = shown.getBoundingClientRect();
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8))}px`;
    tip.style.top = `${at.bottom + height + 4 < window.innerHeight ? at.bottom : at.top - height}px`;
  }

  function hide() {
    if (shown) {
      shown.setAttribute("aria-expanded", "false");
      shown.removeAttribute("aria-controls");
    }
    shown = null;
    stays = false;
    tip.hidden = true;
  }

  // The links to explanations below ``root`` become buttons.
  function watch(root) {
    for (const link of root.querySelectorAll("a[data-tip]")) {
      const word = Object.assign(document.createElement("button"), { type: "button", className: link.className, textContent: link.textContent });
      Object.assign(word.dataset, { tip: link.dataset.tip, more: link.getAttribute("href") });
      if (link.hasAttribute("aria-label")) word.setAttribute("aria-label", link.getAttribute("aria-label"));
      word.setAttribute("aria-expanded", "false");
      word.addEventListener("click", () => (shown === word && stays ? hide() : show(word, true)));
      word.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse" && !stays) show(word, false); });
      word.addEventListener("pointerleave", (event) => { if (!stays && event.relatedTarget !== tip) hide(); });
      link.replaceWith(word);
    }
  }

  tip.addEventListener("pointerleave", () => { if (!stays) hide(); });
  addEventListener("scroll", place, true);
  addEventListener("pointerdown", (event) => { if (shown && !shown.contains(event.target) && !tip.contains(event.target)) hide(); });
  addEventListener("focusin", (event) => { if (shown && stays && event.target !== shown && !tip.contains(event.target)) hide(); });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !shown) return;
    if (tip.contains(document.activeElement)) shown.focus();
    hide();
  });
  watch(document);

  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const words = button.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(words.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(words); // to be copied by hand
        button.textContent = "Selected";
      }
    });
  }

  return { watch };
})();
