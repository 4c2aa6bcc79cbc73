/** Search in what is on the page, marked without touching it (CSS Custom Highlight API). */
import { useEffect, useId, useState, type KeyboardEvent, type RefObject } from "react";
import { count } from "../../lib/format.ts";
import { Icon } from "../../ui/Icon.tsx";

const ALL = "rq-found";
const ONE = "rq-found-one";
const MOST = 2_000;

export interface Find {
  text: string;
  setText(text: string): void;
  total: number;
  at: number;
  step(by: number): void;
}

export function useFind(box: RefObject<HTMLElement | null>): Find {
  const [text, setText] = useState("");
  const [ranges, setRanges] = useState<readonly Range[]>([]);
  const [at, setAt] = useState(0);
  // Typing marks what is found; only Enter goes there.
  const [isSought, setSought] = useState(false);

  useEffect(() => {
    if (!box.current || text.trim() === "" || typeof Highlight === "undefined") {
      setRanges([]);
      return undefined;
    }
    const element = box.current;
    let frame = 0;
    const look = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => setRanges(rangesOf(element, text.toLowerCase())));
    };
    look();
    // What is folded or still to come is searched as soon as it is there.
    const observer = new MutationObserver(look);
    observer.observe(element, { childList: true, subtree: true, characterData: true });
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
    };
  }, [box, text]);

  useEffect(() => {
    setAt(0);
    setSought(false);
  }, [text]);

  useEffect(() => {
    if (typeof Highlight === "undefined") return undefined;
    CSS.highlights.set(ALL, new Highlight(...ranges));
    const one = ranges[at];
    CSS.highlights.set(ONE, one ? new Highlight(one) : new Highlight());
    if (one && isSought) show(one);
    return () => {
      CSS.highlights.delete(ALL);
      CSS.highlights.delete(ONE);
    };
  }, [ranges, at, isSought]);

  const step = (by: number) => {
    setSought(true);
    // The first time it goes to the first one.
    if (isSought) setAt((now) => (ranges.length ? (now + by + ranges.length) % ranges.length : 0));
  };
  return { text, setText, total: ranges.length, at, step };
}

const MARGIN = 120;

/** Bring a place into view: its paragraph may be longer than the window. */
function show(range: Range): void {
  const place = range.getBoundingClientRect();
  let box: Element | null = range.startContainer.parentElement;
  while (box && !(box.scrollHeight > box.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(box).overflowY))) box = box.parentElement;
  const frame = box?.getBoundingClientRect() ?? new DOMRect(0, 0, innerWidth, innerHeight);
  if (place.top >= frame.top + MARGIN && place.bottom <= frame.bottom - 24) return;
  (box ?? document.scrollingElement)?.scrollBy({ top: place.top - frame.top - MARGIN - frame.height / 4 });
}

function rangesOf(element: HTMLElement, wanted: string): Range[] {
  const found: Range[] = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node && found.length < MOST; node = walker.nextNode()) {
    if (node.parentElement?.closest("button, input, .sr")) continue;
    const text = (node.textContent ?? "").toLowerCase();
    // A letter whose small form has another length would shift what is marked.
    if (text.length !== (node.textContent ?? "").length) continue;
    for (let at = text.indexOf(wanted); at >= 0 && found.length < MOST; at = text.indexOf(wanted, at + wanted.length)) {
      const range = new Range();
      range.setStart(node, at);
      range.setEnd(node, at + wanted.length);
      found.push(range);
    }
  }
  return found;
}

export function FindBox({ find, label = "Search in messages" }: { find: Find; label?: string }) {
  const id = useId();
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter") find.step(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") find.setText("");
  };
  return (
    <span className="rq-find">
      <Icon name="search" />
      <label htmlFor={id} className="sr">{label}</label>
      <input id={id} value={find.text} placeholder={label} spellCheck={false} autoComplete="off" onChange={(event) => find.setText(event.target.value)} onKeyDown={onKeyDown} />
      <span className="caption num" role="status">{find.text && (find.total ? `${count(find.at + 1)} of ${find.total === MOST ? `over ${count(MOST)}` : count(find.total)}` : "none")}</span>
    </span>
  );
}
