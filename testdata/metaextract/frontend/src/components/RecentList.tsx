import type { Summary } from "../api";
import { formatSize, formatWhen, truncateMiddle } from "../format";

interface Props {
  /** Undefined until the list has been loaded. */
  rows: Summary[] | undefined;
  current: number | undefined;
  onOpen: (id: number) => void;
}

export function RecentList({ rows, current, onOpen }: Props) {
  return (
    <section aria-labelledby="recent">
      <h2 id="recent">Recent</h2>
      {rows?.length === 0 && <p className="hint">Nothing yet.</p>}
      <ul className="recent">
        {rows?.map((row) => (
          <li key={row.id}>
            <button
              type="button"
              title={row.file_name}
              aria-current={row.id === current}
              onClick={() => {
                onOpen(row.id);
              }}
            >
              <span>{truncateMiddle(row.file_name, 32)}</span>
              <small>
                {formatSize(row.size_bytes)} · {formatWhen(row.created_at)}
              </small>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
