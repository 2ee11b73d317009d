import type { Extraction } from "../api";
import { formatSize, formatWhen } from "../format";
import { toGroups } from "../metadata";
import { KindBadge } from "./KindBadge";

interface Props {
  extraction: Extraction | undefined;
}

export function ExtractionView({ extraction }: Props) {
  if (!extraction) {
    return (
      <article className="empty">
        <p className="hint">Choose a file, and its metadata is shown here.</p>
      </article>
    );
  }
  return (
    <article>
      <h2>{extraction.file_name}</h2>
      <p className="facts">
        <KindBadge kind={extraction.kind} /> {extraction.mime_type} · {formatSize(extraction.size_bytes)} ·{" "}
        {formatWhen(extraction.created_at)}
      </p>
      <p className="hash" title="SHA-256">
        {extraction.sha256}
      </p>
      {toGroups(extraction.metadata).map((group) => (
        <table key={group.name}>
          <caption>{group.name}</caption>
          <tbody>
            {group.rows.map((row) => (
              <tr key={row.tag}>
                <th scope="row">{row.tag}</th>
                <td>{row.value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ))}
    </article>
  );
}
