/**
 * Markdown made of hostile text.
 *
 * HTML in it is shown as text, never as HTML; what Markdown itself makes is sanitised besides. Pictures are not loaded:
 * one that is in the text is shown after a click, one elsewhere is only named, since asking for it would tell its host
 * what was read. Links say where they lead and are followed only by a click.
 */
import DOMPurify from "dompurify";
import { Marked, type Tokens } from "marked";
import { useLayoutEffect, useRef } from "react";
import { markdownPolicy } from "../lib/trusted.ts";
import "./markdown.css";

const TAGS = ["p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "a", "span", "input"];
const ATTRIBUTES = ["href", "start", "align", "type", "checked", "disabled", "data-image", "data-alt"];
const PICTURE = /^data:image\/(?:png|jpeg|gif|webp|avif|bmp);base64,[A-Za-z0-9+/=\s]+$/;

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}

const marked = new Marked({
  gfm: true,
  async: false,
  renderer: {
    html: ({ text }: Tokens.HTML | Tokens.Tag) => escape(text),
    image: ({ href, text }: Tokens.Image) => `<span data-image="${escape(href)}" data-alt="${escape(text)}"></span>`,
  },
});

const policy = markdownPolicy();

/** Return what may be put into the page. */
export function rendered(text: string): DocumentFragment {
  const dirty = marked.parse(text) as string;
  const clean = DOMPurify.sanitize(dirty, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ADD_URI_SAFE_ATTR: ATTRIBUTES.filter((name) => name !== "href"),
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
    RETURN_DOM_FRAGMENT: true,
    ...(policy ? { TRUSTED_TYPES_POLICY: policy as never } : {}),
  });
  for (const link of clean.querySelectorAll("a")) finishLink(link);
  for (const picture of clean.querySelectorAll<HTMLElement>("[data-image]")) finishPicture(picture);
  for (const box of clean.querySelectorAll("input")) {
    if (box.type !== "checkbox") box.remove();
    else box.disabled = true;
  }
  for (const table of clean.querySelectorAll("table")) {
    const room = document.createElement("div");
    room.className = "table-room";
    room.tabIndex = 0;
    table.replaceWith(room);
    room.append(table);
  }
  return clean;
}

function finishLink(link: HTMLAnchorElement): void {
  if (!link.getAttribute("href")) return;
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  link.className = "link";
  const host = link.protocol === "mailto:" ? link.pathname : link.host;
  if (host && !link.textContent?.includes(host)) {
    const shown = document.createElement("small");
    shown.className = "muted";
    shown.textContent = ` (${host})`;
    link.append(shown);
  }
}

function finishPicture(holder: HTMLElement): void {
  const source = holder.dataset.image ?? "";
  const alt = holder.dataset.alt ?? "";
  holder.removeAttribute("data-image");
  holder.removeAttribute("data-alt");
  if (!PICTURE.test(source)) {
    holder.className = "chip plain";
    holder.textContent = `picture not loaded: ${alt ? `${alt}, ` : ""}${source.slice(0, 120)}`;
    return;
  }
  const button = document.createElement("button");
  button.type = "button";
  button.className = "btn small";
  button.textContent = `Show picture${alt ? `: ${alt}` : ""}`;
  button.addEventListener("click", () => {
    const picture = document.createElement("img");
    picture.src = source;
    picture.alt = alt;
    holder.replaceChildren(picture);
  });
  holder.replaceChildren(button);
}

/** The same, or the text itself where its parts are nested too deep: ten thousand quotations in one another. */
function renderedOrPlain(text: string): DocumentFragment | string {
  try {
    return rendered(text);
  } catch (error) {
    if (error instanceof RangeError) return text;
    throw error;
  }
}

export default function MarkdownView({ text }: { text: string }) {
  const host = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => host.current?.replaceChildren(renderedOrPlain(text)), [text]);
  return <div className="markdown wire" ref={host} />;
}
