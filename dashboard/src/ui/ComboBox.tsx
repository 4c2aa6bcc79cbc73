import type { ReactNode } from "react";
import { ComboBox as AriaComboBox, Input, Label, ListBox, ListBoxItem, Popover, Text } from "react-aria-components";

export interface ComboOption {
  value: string;
  note?: ReactNode;
}

/** A field that completes from a list; other words are taken too. */
export function ComboBox({ label, options, value, onChange, help, placeholder, isLabelHidden }: { label: string; options: readonly ComboOption[]; value: string; onChange(value: string): void; help?: string; placeholder?: string; isLabelHidden?: boolean }) {
  return (
    <AriaComboBox className="field" allowsCustomValue inputValue={value} onInputChange={onChange} onSelectionChange={(key) => key !== null && onChange(String(key))} menuTrigger="focus">
      <Label className={isLabelHidden ? "sr" : "label"}>{label}</Label>
      <Input className="input" {...(placeholder ? { placeholder } : {})} />
      {help && <Text slot="description" className="help">{help}</Text>}
      <Popover className="overlay" offset={4}>
        <ListBox className="menu" items={options.map((option) => ({ ...option, id: option.value }))}>
          {(option) => (
            <ListBoxItem id={option.value} textValue={option.value}>
              <span className="ellipsis">{option.value}</span>
              {option.note !== undefined && <span className="note">{option.note}</span>}
            </ListBoxItem>
          )}
        </ListBox>
      </Popover>
    </AriaComboBox>
  );
}
