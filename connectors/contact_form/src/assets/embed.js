// Puts a contact form into the page:
//   <div data-inlet-form="ID"></div>
//   <script async src="https://…/forms/ID/embed.js"></script>
// The element may also be named by the script's data-target (a CSS selector); without either, the form stands where the
// script does. It lives in a shadow root, so that neither style touches the other.
(() => {
  "use strict";
  const FORM = __FORM__;
  const script = document.currentScript;
  const base = script && script.src ? script.src.split(/[?#]/)[0].replace(/\/embed\.js$/, "") : FORM.url;

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  const place = () => {
    const selector = script && script.dataset.target;
    const found = document.querySelector(selector || `[data-inlet-form="${CSS.escape(FORM.id)}"]`);
    if (found || !script) return found;
    const made = element("div");
    script.after(made);
    return made;
  };

  // Sites that enforce Trusted Types allow the policy `inlet-form`.
  const trusted = (html) => {
    try {
      return trustedTypes.createPolicy("inlet-form", { createHTML: (text) => text }).createHTML(html);
    } catch {
      return html;
    }
  };

  const newId = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  const start = () => {
    const host = place();
    if (!host || host.shadowRoot) return;
    const root = host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(FORM.style);
    root.adoptedStyleSheets = [sheet];
    const box = element("div", { className: "embed", lang: FORM.lang, dir: FORM.dir });
    root.append(box);
    const html = trusted(FORM.html);
    let token = "";

    const freshToken = async () => {
      try {
        const answer = await fetch(`${base}/token`, { credentials: "omit", cache: "no-store" });
        if (answer.ok) token = (await answer.json()).token;
      } catch {
        // Without a token the message still arrives, marked.
      }
    };

    const thanks = (message) => {
      const again = element("a", { href: "#", textContent: FORM.texts.another });
      again.addEventListener("click", (event) => {
        event.preventDefault();
        show();
      });
      const notice = element("div", { className: "notice", tabIndex: -1 },
        element("h2", { textContent: FORM.texts.thanks_title }),
        element("p", { textContent: message || FORM.texts.thanks }),
        element("p", {}, again));
      notice.setAttribute("role", "status");
      box.replaceChildren(notice);
      notice.focus();
    };

    const clearErrors = () => {
      box.querySelectorAll(".summary, .error").forEach((old) => old.remove());
      box.querySelectorAll(".invalid").forEach((field) => field.classList.remove("invalid"));
      box.querySelectorAll("[aria-invalid]").forEach((control) => {
        control.removeAttribute("aria-invalid");
        const rest = (control.getAttribute("aria-describedby") || "").split(" ").filter((id) => !id.endsWith("-error"));
        if (rest.join("")) control.setAttribute("aria-describedby", rest.join(" "));
        else control.removeAttribute("aria-describedby");
      });
    };

    const markField = (error) => {
      const field = box.querySelector(`[data-field="${CSS.escape(error.field)}"]`);
      if (!field) return null;
      const control = field.querySelector("input, select, textarea");
      const id = `f-${error.field}-error`;
      let text = field.querySelector(".error");
      if (text) text.append(element("br"), error.message);
      else {
        text = element("p", { className: "error", id, textContent: error.message });
        const label = field.querySelector(":scope > label, legend");
        if (label) label.after(text);
        else field.prepend(text);
      }
      field.classList.add("invalid");
      field.querySelectorAll("input, select, textarea").forEach((each) => {
        each.setAttribute("aria-invalid", "true");
        const ids = new Set((each.getAttribute("aria-describedby") || "").split(" ").filter(Boolean));
        each.setAttribute("aria-describedby", [...ids.add(id)].join(" "));
      });
      return control;
    };

    const showErrors = (heading, errors, link) => {
      clearErrors();
      // A browser's autofill may have been here.
      box.querySelector(".apart input").value = "";
      const list = element("ul");
      for (const error of errors) {
        const control = error.field && markField(error);
        const item = element(control ? "a" : "span", { textContent: error.message });
        if (control) {
          item.href = `#${control.id}`;
          item.addEventListener("click", (event) => {
            event.preventDefault();
            control.focus();
          });
        }
        list.append(element("li", {}, item));
      }
      if (link) list.append(element("li", {}, element("a", { href: base, textContent: FORM.texts.own_page })));
      const summary = element("div", { className: "summary", tabIndex: -1 }, element("h2", { textContent: heading }));
      if (list.children.length) summary.append(list);
      summary.setAttribute("role", "alert");
      box.prepend(summary);
      summary.focus();
    };

    const body = (form, id) => {
      const data = new FormData(form);
      const own = {
        _token: token, _submission_id: id, _page_url: location.href, _referrer: document.referrer,
        _locale: navigator.language,
      };
      for (const [key, value] of Object.entries(own)) data.set(key, value || "");
      const files = [...data.values()].some((value) => typeof value !== "string" && (value.name || value.size));
      if (files) return { body: data };
      const fields = new Map();
      for (const [key, value] of data) {
        if (typeof value === "string") fields.set(key, fields.has(key) ? [].concat(fields.get(key), value) : value);
      }
      return { body: JSON.stringify(Object.fromEntries(fields)), headers: { "content-type": "application/json" } };
    };

    const send = async (form, id) => {
      const request = body(form, id);
      const headers = { accept: "application/json", ...request.headers };
      let answer, said;
      try {
        answer = await fetch(base, { method: "POST", body: request.body, headers, credentials: "omit" });
        said = await answer.json();
      } catch {
        return showErrors(FORM.texts.network, [], true);
      }
      if (!answer.ok) {
        if (said.token) token = said.token;
        return showErrors(said.message || FORM.texts.errors, said.errors || [], false);
      }
      if (said.redirect) return location.assign(said.redirect);
      thanks(said.message);
    };

    const show = () => {
      box.innerHTML = html;
      const form = box.querySelector("form");
      const button = form.querySelector("button[type=submit]");
      const caption = button.textContent;
      // One id until the message is taken: a second attempt is the same message.
      const id = newId();
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        if (button.disabled) return;
        button.disabled = true;
        button.textContent = FORM.texts.sending;
        try {
          await send(form, id);
        } finally {
          button.disabled = false;
          button.textContent = caption;
        }
      });
      freshToken();
    };

    show();
    setInterval(freshToken, FORM.tokenSeconds * 500);
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
