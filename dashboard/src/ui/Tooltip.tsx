import { useEffect, useId, useRef, useState, type ReactNode } from "react";
import { createPortal } from "react-dom";
import { shownKey } from "../lib/keys.ts";
import { vars } from "../lib/vars.ts";

const DELAY_MS = 400;

/** A word of explanation on hover and focus; Esc puts it away. What it says must not be needed to work the page. */
export function Tooltip({ text, keys, children }: { text: ReactNode; keys?: string; children: ReactNode }) {
  const [at, setAt] = useState<{ x: number; y: number } | null>(null);
  const timer = useRef(0);
  const holder = useRef<HTMLSpanElement>(null);
  const id = useId();

  const show = (delay: number) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => {
      const box = holder.current?.firstElementChild?.getBoundingClientRect();
      if (box) setAt({ x: Math.max(8, Math.min(box.left, innerWidth - 240)), y: box.bottom + 36 > innerHeight ? box.top - 34 : box.bottom + 6 });
    }, delay) as unknown as number;
  };
  const hide = () => {
    clearTimeout(timer.current);
    setAt(null);
  };

  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    if (!at) return undefined;
    const onKey = (event: KeyboardEvent) => event.key === "Escape" && setAt(null);
    addEventListener("keydown", onKey, true);
    addEventListener("scroll", hide, true);
    return () => {
      removeEventListener("keydown", onKey, true);
      removeEventListener("scroll", hide, true);
    };
  }, [at]);

  return (
    <span
      ref={holder}
      className="tip-holder"
      onPointerEnter={(event) => event.pointerType === "mouse" && show(DELAY_MS)}
      onPointerLeave={hide}
      onPointerDown={hide}
      onFocus={(event) => event.target.matches(":focus-visible") && show(0)}
      onBlur={hide}
      aria-describedby={at ? id : undefined}
    >
      {children}
      {at &&
        createPortal(
          <span role="tooltip" id={id} className="tip" style={vars({ x: `${at.x}px`, y: `${at.y}px` })}>
            {text}
            {keys && <> · {keys.split(" ").map(shownKey).join(" then ")}</>}
          </span>,
          document.body,
        )}
    </span>
  );
}
