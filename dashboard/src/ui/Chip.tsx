import type { ReactNode } from "react";
import { Icon } from "./Icon.tsx";

/** A small named thing: a tag, or a term of a filter that can be taken away. */
export function Chip({ name, children, isWrong, isPlain, onRemove, removeLabel }: { name?: ReactNode; children: ReactNode; isWrong?: boolean; isPlain?: boolean; onRemove?: () => void; removeLabel?: string }) {
  return (
    <span className={`chip${isWrong ? " wrong" : ""}${isPlain ? " plain" : ""}`}>
      {name && <b>{name}:</b>}
      <span className="ellipsis wire">{children}</span>
      {onRemove && (
        <button type="button" aria-label={removeLabel ?? "Remove"} onClick={onRemove}>
          <Icon name="cross" />
        </button>
      )}
    </span>
  );
}
