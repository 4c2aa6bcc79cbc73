import { Link } from "wouter";
import { pageOf } from "../../lib/path.ts";
import { Icon, type IconName } from "../../ui/Icon.tsx";
import { Sparkline } from "../../ui/Sparkline.tsx";
import type { Level } from "../../ui/Status.tsx";
import { Tile } from "../../ui/Tile.tsx";
import { hrefOf, levelOf, splitUnit, type Observed, type StatusTile } from "./status.ts";

const SIGNS: Record<Level, IconName> = { ok: "check", warn: "warning", bad: "cross", none: "dash", live: "ring" };
const COLOURS: Record<Level, string> = { ok: "var(--ok)", warn: "var(--warn)", bad: "var(--bad)", none: "var(--s5)", live: "var(--accent)" };

/** Whether all is well, in a sentence; why, in another; and where to look. */
export function Verdict({ observed }: { observed: Observed }) {
  const { state, text, detail, cause, link } = observed.headline;
  const level = levelOf(state);
  return (
    <section className={`verdict ${level}`} aria-live="polite" aria-atomic="true">
      <div className="sign"><Icon name={SIGNS[level]} /></div>
      <div className="say">
        <h2>{text}</h2>
        {detail && <p className="wire">{detail}</p>}
      </div>
      {link && (
        <div className="act">
          {cause?.q && (
            <Link className="btn" href={pageOf.requests(cause.q, { from: link.from, to: link.to })}>
              <span className="ellipsis wire">Only {cause.value}</span>
            </Link>
          )}
          <Link className="btn primary" href={hrefOf(link)}>{link.label}</Link>
        </div>
      )}
    </section>
  );
}

/** The three numbers by which that is told. */
export function Tiles({ tiles }: { tiles: readonly StatusTile[] }) {
  return (
    <section className="grid c3" aria-label="Status">
      {tiles.map((tile) => <StatusTileCard key={tile.name} tile={tile} />)}
    </section>
  );
}

function StatusTileCard({ tile }: { tile: StatusTile }) {
  const level = levelOf(tile.state);
  const [value, unit] = splitUnit(tile.text);
  const [change, ...note] = tile.difference.split(" vs ");
  return (
    <Tile
      label={tile.label}
      level={level}
      word={tile.word}
      value={value}
      unit={unit}
      change={change}
      isWorse={tile.is_worse ?? undefined}
      note={[note.length ? `vs ${note.join(" ")}` : "", tile.note].filter(Boolean).join(", ")}
      chart={
        <Sparkline
          values={tile.series.values}
          label={`${tile.label} over the last 24 hours, now ${tile.text}`}
          colour={COLOURS[level]}
          threshold={tile.warn ?? undefined}
        />
      }
      sample={tile.sample}
      rule={tile.rule}
      href={hrefOf(tile.link)}
    />
  );
}
