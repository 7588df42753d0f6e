/** Evaluations wait in the builder's queue too, in slots of their own: they are short, and must not wait behind builds. */
import type { Builder } from '../builder/builder.ts';
import type { EvaluateStepOptions } from './evaluate-step.ts';

export function evaluationsInTurn(builder: Builder): EvaluateStepOptions['inTurn'] {
  return async <T>(
    key: string,
    context: Parameters<EvaluateStepOptions['inTurn']>[1],
    work: (signal: AbortSignal) => Promise<T>,
  ) => {
    const { value } = await builder.submit<T>(
      {
        kind: 'evaluation',
        key,
        title: 'evaluation',
        recorded: false,
        priority: context.priority ?? 'interactive',
        ...(context.tenant === undefined ? {} : { tenant: context.tenant }),
        run: ({ signal }) => work(signal),
      },
      context,
    );
    return value;
  };
}
