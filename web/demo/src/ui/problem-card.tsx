import type { ComponentChildren, JSX } from 'preact';
import type { Problem } from '../problem';
import { Icon } from './icons';

/** What went wrong, why, and what to do; with the codes for those who look them up. */
export function ProblemCard({ problem, onClose }: { problem: Problem; onClose?: () => void }): JSX.Element {
  return (
    <section class="problem" role="alert">
      <span class="problem-sign">
        <Icon name="warning" />
      </span>
      <div class="problem-text">
        <h2>{problem.title}</h2>
        <p>{withCode(problem.cause)}</p>
        <p class="problem-remedy">{withCode(problem.remedy)}</p>
        {(problem.code ?? problem.detail) !== undefined && (
          <details>
            <summary>{problem.behind ?? problem.code ?? 'The error’s own words'}</summary>
            {problem.behind !== undefined && <p>Reported to the application as {problem.code}</p>}
            {problem.detail !== undefined && <p class="problem-detail">{problem.detail}</p>}
          </details>
        )}
      </div>
      {onClose && (
        <button type="button" class="quiet round" onClick={onClose} aria-label="Close this explanation">
          <Icon name="close" />
        </button>
      )}
    </section>
  );
}

/** The catalogue marks commands and names with backticks. */
function withCode(text: string): ComponentChildren {
  return text.split('`').map((part, at) => (at % 2 === 1 ? <code key={at}>{part}</code> : part));
}
