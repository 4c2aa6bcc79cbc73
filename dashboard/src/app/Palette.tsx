/** Search or jump to: pages, saved views, anything by its id. */
import { useMemo, useRef, useState, type KeyboardEvent } from "react";
import { Dialog as AriaDialog, Modal, ModalOverlay } from "react-aria-components";
import { useLocation } from "wouter";
import { may } from "../lib/boot.ts";
import { address, pageOf, query, segment } from "../lib/path.ts";
import { useRead } from "../lib/queries.ts";
import { Icon, type IconName } from "../ui/Icon.tsx";
import { NAV } from "./pages.tsx";

interface Entry {
  title: string;
  note: string;
  icon: IconName;
  go(): void;
}

interface Views {
  views: { id: number; name: string; page: string; query: string; is_shared: boolean }[];
}

const SECTIONS = ["upstreams", "prices", "retention", "redaction", "users", "appearance", "system"];

/** Say whether a text looks like an id that somebody pasted. */
export function looksLikeId(text: string): boolean {
  return /^[\w:.-]{8,128}$/.test(text) && /\d/.test(text);
}

export default function Palette({ onClose }: { onClose(): void }) {
  const [, navigate] = useLocation();
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const views = useRead<Views>("/api/views");

  const entries = useMemo(() => {
    const go = (path: string) => () => {
      onClose();
      navigate(path);
    };
    const leave = (path: string) => () => location.assign(address(path));
    const wanted = text.trim();
    const all: Entry[] = [
      ...NAV.flatMap(([, links]) => links.map((link): Entry => ({ title: link.title, note: `g ${link.letter}`, icon: link.icon, go: go(link.path) }))),
      ...SECTIONS.filter((section) => section !== "users" || may("admin")).map((section): Entry => ({ title: `Settings: ${section}`, note: "", icon: "gear", go: go(pageOf.settings(section)) })),
      ...(views.data?.views ?? []).map((view): Entry => ({ title: view.name, note: view.is_shared ? "everybody's view" : "your view", icon: "bookmark", go: go(pageOf.view(view)) })),
    ];
    const found = all.filter((entry) => entry.title.toLowerCase().includes(wanted.toLowerCase()));
    if (!wanted) return found;
    const ids: Entry[] = looksLikeId(wanted)
      ? [
          { title: `Request ${wanted}`, note: "by our id or the provider's", icon: "list", go: leave(`/go/req/${segment(wanted)}`) },
          { title: `Session ${wanted}`, note: "", icon: "chat", go: leave(`/go/session/${segment(wanted)}`) },
          { title: `Trace ${wanted}`, note: "", icon: "list", go: leave(`/go/trace/${segment(wanted)}`) },
        ]
      : [];
    const words: Entry[] = [{ title: `Requests with ${wanted}`, note: "filter", icon: "search", go: go(`/requests${query({ q: wanted })}`) }];
    return looksLikeId(wanted) ? [...ids, ...found, ...words] : [...found, ...words];
  }, [text, views.data, navigate, onClose]);

  const chosen = Math.min(at, entries.length - 1);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const next = (chosen + step + entries.length) % entries.length;
      setAt(next);
      list.current?.children[next]?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      entries[chosen]?.go();
    }
  };

  return (
    <ModalOverlay className="scrim-dialog" isOpen isDismissable onOpenChange={(open) => !open && onClose()}>
      <Modal className="overlay dialog palette">
        <AriaDialog aria-label="Search or jump to">
          <input
            className="palette-input"
            autoFocus
            role="combobox"
            aria-expanded="true"
            aria-controls="palette-list"
            aria-activedescendant={`palette-${chosen}`}
            aria-label="Search or jump to"
            placeholder="A page, a saved view, an id, or words of a request"
            value={text}
            spellCheck={false}
            autoComplete="off"
            onChange={(event) => {
              setText(event.target.value);
              setAt(0);
            }}
            onKeyDown={onKeyDown}
          />
          <ul className="menu" role="listbox" id="palette-list" aria-label="Where to" ref={list}>
            {entries.map((entry, index) => (
              <li key={index} id={`palette-${index}`} role="option" aria-selected={index === chosen} data-focused={index === chosen ? "" : undefined} onPointerMove={() => setAt(index)} onClick={entry.go}>
                <Icon name={entry.icon} />
                <span className="ellipsis">{entry.title}</span>
                <span className="note">{entry.note}</span>
              </li>
            ))}
          </ul>
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

