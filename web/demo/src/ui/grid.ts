/** How tiles of one shape fill a room best. */

export interface GridShape {
  readonly columns: number;
  readonly tileWidth: number;
  /** Width by height. */
  readonly aspect: number;
}

/** An upright screen may cut off a little of a picture's sides, where it gains much by it. */
const ASPECTS = { wide: [16 / 9], upright: [16 / 9, 4 / 3] };
const WORTH = 1.25;

/** The columns and the aspect that give `count` tiles the largest area within the given space. */
export function bestGrid(count: number, width: number, height: number, gap: number): GridShape {
  const tiles = Math.max(1, count);
  let best: GridShape = { columns: 1, tileWidth: 0, aspect: 16 / 9 };
  let bestArea = 0;
  for (const aspect of width < height ? ASPECTS.upright : ASPECTS.wide) {
    for (let columns = 1; columns <= tiles; columns += 1) {
      const rows = Math.ceil(tiles / columns);
      const byWidth = (width - gap * (columns - 1)) / columns;
      const byHeight = ((height - gap * (rows - 1)) / rows) * aspect;
      const tileWidth = Math.floor(Math.min(byWidth, byHeight));
      const area = tileWidth ** 2 / aspect;
      if (area > bestArea * (aspect === best.aspect ? 1 : WORTH)) {
        best = { columns, tileWidth, aspect };
        bestArea = area;
      }
    }
  }
  return best;
}
