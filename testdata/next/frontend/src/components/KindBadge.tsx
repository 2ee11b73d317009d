import type { Kind } from "../api";

interface Props {
  kind: Kind | undefined;
}

export function KindBadge({ kind }: Props) {
  return kind ? <span className="kind">{kind}</span> : null;
}
