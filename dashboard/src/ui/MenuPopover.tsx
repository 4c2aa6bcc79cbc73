import type { RefObject } from "react";
import { Header, Menu, MenuItem as AriaItem, MenuSection, Popover } from "react-aria-components";
import type { MenuProps } from "./Menu.tsx";

export type MenuPopoverProps = Pick<MenuProps, "groups" | "onAction" | "selected" | "mode" | "onSelect"> & {
  label: string;
  trigger: RefObject<HTMLElement | null>;
  isOpen: boolean;
  onOpenChange(isOpen: boolean): void;
};

export default function MenuPopover({ groups, onAction, selected, mode, onSelect, label, trigger, isOpen, onOpenChange }: MenuPopoverProps) {
  const choosing = selected
    ? {
        selectionMode: mode ?? ("single" as const),
        selectedKeys: selected,
        onSelectionChange: (keys: "all" | Set<string | number>) => {
          if (keys !== "all") onSelect?.(new Set([...keys].map(String)));
        },
      }
    : {};
  return (
    <Popover className="overlay" triggerRef={trigger} isOpen={isOpen} onOpenChange={onOpenChange} placement="bottom start" offset={4}>
      <Menu className="menu" aria-label={label} autoFocus="first" onClose={() => mode !== "multiple" && onOpenChange(false)} onAction={(id) => onAction?.(String(id))} shouldFocusWrap {...choosing}>
        {groups.map((group, at) => (
          <MenuSection key={group.title ?? at} aria-label={group.title ?? label}>
            {group.title && <Header>{group.title}</Header>}
            {group.items.map((item) => (
              <AriaItem
                key={item.id}
                id={item.id}
                textValue={item.text ?? (typeof item.title === "string" ? item.title : item.id)}
                isDisabled={item.isDisabled ?? false}
                className={item.isDanger ? "danger" : ""}
              >
                {item.title}
                {item.note && <span className="note">{item.note}</span>}
              </AriaItem>
            ))}
          </MenuSection>
        ))}
      </Menu>
    </Popover>
  );
}
