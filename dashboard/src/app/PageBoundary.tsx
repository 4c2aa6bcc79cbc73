import { Component, type ErrorInfo, type ReactNode } from "react";
import { ErrorState } from "../ui/States.tsx";

/** A page that fails takes nothing else with it: the frame stays, and says what happened. */
export class PageBoundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: null as unknown };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override componentDidCatch(error: unknown, info: ErrorInfo) {
    console.error("a page failed", error, info.componentStack);
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return <ErrorState error={this.state.error} what="This page failed" onRetry={() => this.setState({ error: null })} />;
  }
}
