/** One request beside the list: it takes nothing from the list, which can be read and stepped through meanwhile. */
import { useEffect, useRef, type ReactNode } from "react";
import { Link } from "wouter";
import { IconButton } from "../../ui/Button.tsx";

export interface PeekProps {
  id: string;
  /** Where its whole page is. */
  href: string;
  onPrevious: (() => void) | null;
  onNext: (() => void) | null;
  onClose(): void;
  children: ReactNode;
}

export function Peek({ id, href, onPrevious, onNext, onClose, children }: PeekProps) {
  const body = useRef<HTMLDivElement>(null);
  useEffect(() => {
    body.current?.scrollTo({ top: 0 });
  }, [id]);
  return (
    <aside className="peek" aria-label="Request">
      <header>
        <IconButton icon="up" label="Previous" keys="k" size="small" disabled={!onPrevious} onClick={() => onPrevious?.()} />
        <IconButton icon="down" label="Next" keys="j" size="small" disabled={!onNext} onClick={() => onNext?.()} />
        <span className="mono wire ellipsis muted">{id}</span>
        <Link href={href} className="btn small">Open</Link>
        <IconButton icon="cross" label="Close" keys="Escape" size="small" onClick={onClose} />
      </header>
      <div className="peek-body" ref={body}>{children}</div>
    </aside>
  );
}
