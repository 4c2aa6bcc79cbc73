import type { RefObject } from "react";
import { Header, Menu, MenuItem as AriaItem, MenuSection, Popover } from "react-aria-components";
import { useLocation } from "wouter";
import { boot } from "../lib/boot.ts";
import type { MenuItem, MenuProps } from "./Menu.tsx";

export type MenuPopoverProps = Pick<MenuProps, "groups" | "onAction" | "selected" | "mode" | "onSelect"> & {
  label: string;
  trigger: RefObject<HTMLElement | null>;
  isOpen: boolean;
  onOpenChange(isOpen: boolean): void;
};

/** Files are links of the browser's; pages are gone to without loading anew. */
function isPage(item: MenuItem): boolean {
  return item.href !== undefined && item.href.startsWith("/") && !item.href.startsWith("/api/") && !item.download;
}

function linkOf(item: MenuItem): { href?: string; download?: string } {
  if (!item.href || isPage(item)) return {};
  return { href: item.href.startsWith("/") ? boot.base + item.href : item.href, ...(item.download ? { download: item.download } : {}) };
}

export default function MenuPopover({ groups, onAction, selected, mode, onSelect, label, trigger, isOpen, onOpenChange }: MenuPopoverProps) {
  const [, navigate] = useLocation();
  const act = (id: string) => {
    const item = groups.flatMap((group) => group.items).find((each) => each.id === id);
    if (item?.href && isPage(item)) navigate(item.href);
    onAction?.(id);
  };
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
      <Menu className="menu" aria-label={label} autoFocus="first" onClose={() => mode !== "multiple" && onOpenChange(false)} onAction={(id) => act(String(id))} shouldFocusWrap {...choosing}>
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
                {...linkOf(item)}
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
