import type { ReactNode } from "react";
import { Dialog as AriaDialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { vars } from "../lib/vars.ts";
import { Button, IconButton } from "./Button.tsx";

/** A dialog over the page: it keeps the focus, Esc closes it. Import it lazily from pages that open it rarely. */
export function Dialog({ title, isOpen = true, onClose, children, foot, width = 520, isAlert }: { title: string; isOpen?: boolean; onClose(): void; children: ReactNode; foot?: ReactNode; width?: number; isAlert?: boolean }) {
  return (
    <ModalOverlay className="scrim-dialog" isOpen={isOpen} isDismissable={!isAlert} onOpenChange={(open) => !open && onClose()} style={vars({ "dialog-width": `${width}px` })}>
      <Modal className="overlay dialog">
        <AriaDialog role={isAlert ? "alertdialog" : "dialog"}>
          <div className="dialog-head">
            <Heading slot="title">{title}</Heading>
            <IconButton icon="cross" label="Close" onClick={onClose} />
          </div>
          <div className="dialog-body">{children}</div>
          {foot && <div className="dialog-foot">{foot}</div>}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

/** "Are you sure", in words that say what will happen. */
export function Confirm({ title, children, action, isDanger, onConfirm, onClose }: { title: string; children: ReactNode; action: string; isDanger?: boolean; onConfirm(): void; onClose(): void }) {
  return (
    <Dialog
      isAlert
      title={title}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind={isDanger ? "danger" : "primary"} onClick={onConfirm}>{action}</Button>
        </>
      }
    >
      {children}
    </Dialog>
  );
}
