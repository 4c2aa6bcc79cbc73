import type { ReactNode } from "react";
import { Link } from "wouter";
import { StatusPill, type Level } from "./Status.tsx";

export interface TileProps {
  label: string;
  level: Level;
  /** Instead of the word that belongs to the level. */
  word?: string;
  value: ReactNode;
  unit?: string;
  /** Such as "−0.06 pts"; `isWorse` colours it. */
  change?: string;
  isWorse?: boolean;
  /** Beside the value: "vs yesterday". */
  note?: ReactNode;
  chart?: ReactNode;
  /** "1 of 214 in 15 min". */
  sample: ReactNode;
  /** "warn at 1%, critical at 5%". */
  rule: ReactNode;
  href?: string;
}

/** One number that says how things are, with its sample and the rule by which it is judged. */
export function Tile(props: TileProps) {
  const body = (
    <>
      <span className="label">{props.label}</span>
      <StatusPill level={props.level}>{props.word}</StatusPill>
      <span className="value">
        <b>
          {props.value}
          {props.unit && <small>{props.unit}</small>}
        </b>
        {props.change && <span className={props.isWorse === undefined ? "" : props.isWorse ? "worse" : "better"}>{props.change}</span>}
        {props.note && <span>{props.note}</span>}
      </span>
      <span className="spark">{props.chart}</span>
      <span className="rule">
        <span>{props.sample}</span>
        <span>{props.rule}</span>
      </span>
    </>
  );
  const className = `card tile ${props.level}`;
  return props.href ? (
    <Link href={props.href} className={className}>
      {body}
    </Link>
  ) : (
    <article className={className}>{body}</article>
  );
}
