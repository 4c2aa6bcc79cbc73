/** A button with a menu below it. The menu's code is fetched when somebody goes near the button. */
import { lazy, Suspense, useRef, useState, type ReactNode } from "react";
import { Button, type ButtonProps } from "./Button.tsx";

export interface MenuItem {
  id: string;
  title: ReactNode;
  /** For searching by letter, when the title is not text. */
  text?: string;
  note?: ReactNode;
  isDanger?: boolean;
  isDisabled?: boolean;
}

export interface MenuGroup {
  title?: string;
  items: readonly MenuItem[];
}

export interface MenuProps extends Omit<ButtonProps, "onSelect"> {
  label: ReactNode;
  groups: readonly MenuGroup[];
  onAction?(id: string): void;
  /** With it the items are choices, and these are chosen. */
  selected?: ReadonlySet<string>;
  mode?: "single" | "multiple";
  onSelect?(ids: ReadonlySet<string>): void;
}

const load = () => import("./MenuPopover.tsx");
const MenuPopover = lazy(load);

export function Menu({ label, groups, onAction, selected, mode = "single", onSelect, hasCaret = true, ...rest }: MenuProps) {
  const trigger = useRef<HTMLButtonElement>(null);
  const [isOpen, setOpen] = useState(false);
  const [wasOpened, setOpened] = useState(false);
  return (
    <>
      <Button
        {...rest}
        ref={trigger}
        hasCaret={hasCaret}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        onPointerEnter={() => void load()}
        onFocus={() => void load()}
        onClick={() => {
          setOpened(true);
          setOpen(true);
        }}
        onKeyDown={(event) => {
          if (event.key !== "ArrowDown") return;
          event.preventDefault();
          setOpened(true);
          setOpen(true);
        }}
      >
        {label}
      </Button>
      {wasOpened && (
        <Suspense>
          <MenuPopover trigger={trigger} isOpen={isOpen} onOpenChange={setOpen} {...{ groups, onAction, selected, mode, onSelect }} label={rest["aria-label"] ?? (typeof label === "string" ? label : "Menu")} />
        </Suspense>
      )}
    </>
  );
}
