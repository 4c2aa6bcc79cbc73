import type { ReactNode } from "react";

/** A white card; with a title it is a region of the page. */
export function Card({ title, end, children, className = "", isPadded = true, level: Heading = "h2" }: { title?: ReactNode; end?: ReactNode; children?: ReactNode; className?: string; isPadded?: boolean; level?: "h2" | "h3" }) {
  return (
    <section className={`card${isPadded ? " pad" : ""} ${className}`}>
      {(title || end) && (
        <header>
          {title && <Heading>{title}</Heading>}
          {end && <span className="end">{end}</span>}
        </header>
      )}
      {children}
    </section>
  );
}

/** The line above a row of cards. */
export function Section({ title, note, end }: { title: ReactNode; note?: ReactNode; end?: ReactNode }) {
  return (
    <div className="section">
      <h2>{title}</h2>
      {note && <p>{note}</p>}
      {end && <span className="end">{end}</span>}
    </div>
  );
}

/** A strip of facts, large. */
export function Facts({ facts }: { facts: readonly (readonly [name: string, value: ReactNode, note?: ReactNode])[] }) {
  return (
    <dl className="card facts">
      {facts.map(([name, value, note]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            {value}
            {note && <small>{note}</small>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** Names and values, small. */
export function Pairs({ pairs }: { pairs: readonly (readonly [name: ReactNode, value: ReactNode])[] }) {
  return (
    <dl className="pairs">
      {pairs.map(([name, value], at) => [<dt key={`n${at}`}>{name}</dt>, <dd key={`v${at}`}>{value}</dd>])}
    </dl>
  );
}

/** How much of something is used, and promised, with a mark such as "so much of the month is over". Values are shares of 1. */
export function Track({ share, promised = 0, mark, level = "ok", label }: { share: number; promised?: number; mark?: number; level?: "ok" | "warn" | "bad"; label: string }) {
  const percent = Math.max(0, Math.min(1, share)) * 100;
  return (
    <div
      className={`track ${level === "ok" ? "" : level}`}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(percent)}
      ref={(element) => {
        element?.style.setProperty("--at", `${percent}%`);
        element?.style.setProperty("--promised", `${Math.max(0, Math.min(1, share + promised)) * 100}%`);
        element?.style.setProperty("--mark", `${Math.max(0, Math.min(1, mark ?? 0)) * 100}%`);
      }}
    >
      {promised > 0 && <s />}
      <i />
      {mark !== undefined && <u />}
    </div>
  );
}
