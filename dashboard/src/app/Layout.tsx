/** The frame around every page. */
import { createContext, useContext, useEffect, useLayoutEffect, useRef, useState, type ReactNode } from "react";
import { createPortal } from "react-dom";
import { Link, useLocation } from "wouter";
import { boot } from "../lib/boot.ts";
import { shownKey } from "../lib/keys.ts";
import { address } from "../lib/path.ts";
import { Button, IconButton } from "../ui/Button.tsx";
import { Icon } from "../ui/Icon.tsx";
import { Recording } from "./Recording.tsx";
import { isGoingBack } from "./going.ts";
import { NAV } from "./pages.tsx";

interface Slots {
  title: HTMLElement | null;
  tools: HTMLElement | null;
  openPalette(): void;
}

const SlotContext = createContext<Slots>({ title: null, tools: null, openPalette: () => undefined });

export function Layout({ children, onPalette }: { children: ReactNode; onPalette(): void }) {
  const [path] = useLocation();
  const [isOpen, setOpen] = useState(false);
  const [title, setTitle] = useState<HTMLElement | null>(null);
  const [tools, setTools] = useState<HTMLElement | null>(null);
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);

  useEffect(() => {
    setOpen(false);
    if (!isFirst.current) {
      // A new page begins at its top, and a screen reader begins to read there; Back finds the place that was left.
      main.current?.focus({ preventScroll: true });
      if (!isGoingBack()) scrollTo(0, 0);
    }
    isFirst.current = false;
  }, [path]);

  return (
    <SlotContext value={{ title, tools, openPalette: onPalette }}>
      <div className="app" data-drawer={isOpen ? "open" : "closed"} onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
        <a className="skip" href="#main">Skip to the content</a>
        <Sidebar path={path} />
        <div className="scrim" onClick={() => setOpen(false)} aria-hidden="true" />
        <div className="page">
          <header className="top">
            <IconButton className="menu-button" icon="menu" label="Menu" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)} />
            <div className="crumb" ref={setTitle} />
            <div className="tools">
              <Button className="search hide-s" icon="search" aria-label="Search or jump to" aria-keyshortcuts="Control+K Meta+K" onClick={onPalette}>
                <span>Search or jump to</span>
                <kbd>{shownKey("mod+k")}</kbd>
              </Button>
              <div className="tools" ref={setTools} />
            </div>
          </header>
          <main id="main" ref={main} tabIndex={-1}>{children}</main>
        </div>
      </div>
    </SlotContext>
  );
}

function Sidebar({ path }: { path: string }) {
  return (
    <aside className="side">
      <div className="brand"><i />Glassline</div>
      <nav className="nav" aria-label="Main">
        {NAV.map(([group, links]) => (
          <div key={group}>
            {group && <h2>{group}</h2>}
            {links.map((link) => {
              const isHere = link.path === "/" ? path === "/" : path === link.path || path.startsWith(`${link.path}/`);
              return (
                <Link key={link.path} href={link.path} aria-current={isHere ? "page" : undefined}>
                  <Icon name={link.icon} />
                  {link.title}
                </Link>
              );
            })}
          </div>
        ))}
      </nav>
      <div className="foot">
        <Recording />
        {boot.form && (
          <form method="post" action={address("/logout")}>
            <input type="hidden" name="form" value={boot.form} />
            <span className="ellipsis" title={boot.user}>{boot.user}</span>
            <Button type="submit" size="small">Log out</Button>
          </form>
        )}
      </div>
    </aside>
  );
}

/**
 * A page puts its name and its controls into the top bar, and its name into the window's title.
 *
 * `crumbs` lead to it: [["Requests", "/requests"]].
 */
export function PageHead({ title, crumbs = [], windowTitle, tools, isFull, beside }: { title: ReactNode; crumbs?: readonly (readonly [string, string])[]; windowTitle?: string; tools?: ReactNode; isFull?: boolean; beside?: ReactNode }) {
  const slots = useContext(SlotContext);
  useTitle(windowTitle ?? (typeof title === "string" ? title : "Glassline"));
  useLayoutEffect(() => {
    const main = document.getElementById("main");
    main?.classList.toggle("full", isFull ?? false);
    return () => main?.classList.remove("full");
  }, [isFull]);
  return (
    <>
      {slots.title &&
        createPortal(
          <>
            {crumbs.map(([name, path]) => (
              <span key={path} className="nowrap"><Link href={path}>{name}</Link> <span className="faint" aria-hidden="true">/</span></span>
            ))}
            <h1 className="ellipsis wire">{title}</h1>
            {beside}
          </>,
          slots.title,
        )}
      {slots.tools && tools && createPortal(tools, slots.tools)}
    </>
  );
}

const MARKS = { ok: "", degraded: "⚠ ", failing: "✗ " } as const;

/** The window's title: the verdict first when something is wrong, so that a tab in the background says so. */
export function useTitle(title: string): void {
  const level = useContext(LevelContext);
  useEffect(() => {
    document.title = `${MARKS[level]}${title} · Glassline`;
  }, [title, level]);
}

export const LevelContext = createContext<keyof typeof MARKS>(boot.level);
