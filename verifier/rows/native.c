/* Many rows of a few buffers: their SHA-256, by a library's own functions, which come in as pointers; and their fields.
 *
 * A row that does not lie in its buffer is refused (-1) before any is read.
 */

#include <stdint.h>
#include <string.h>

/* As SHA256_CTX of OpenSSL's <openssl/sha.h>: 112 bytes of plain numbers since 0.9.8, and room to spare. */
typedef struct {
    uint64_t words[32];
} state;

typedef int (*init_function)(state *);
typedef int (*update_function)(state *, const void *, size_t);
typedef int (*final_function)(unsigned char *, state *);

static int lie_inside(const int64_t *sizes, int64_t count, const int64_t *buffer, const int64_t *start,
                      const int64_t *length, int64_t rows)
{
    int64_t row;

    for (row = 0; row < rows; row++) {
        if (buffer[row] < 0 || buffer[row] >= count || start[row] < 0 || length[row] < 0)
            return 0;
        if (start[row] > sizes[buffer[row]] || length[row] > sizes[buffer[row]] - start[row])
            return 0;
    }
    return 1;
}

int hash_rows(const unsigned char *const *buffers, const int64_t *sizes, int64_t count, const int64_t *buffer,
              const int64_t *start, const int64_t *length, int64_t rows, const unsigned char *prefix,
              int64_t prefix_length, unsigned char *digests, init_function init, update_function update,
              final_function final)
{
    state fresh, now;
    int64_t row;

    if (!lie_inside(sizes, count, buffer, start, length, rows))
        return -1;
    memset(&fresh, 0, sizeof fresh);
    if (!init(&fresh) || !update(&fresh, prefix, (size_t)prefix_length))
        return -2;
    for (row = 0; row < rows; row++) {
        now = fresh;
        if (!update(&now, buffers[buffer[row]] + start[row], (size_t)length[row]) || !final(digests + 32 * row, &now))
            return -2;
    }
    return 0;
}

/* Says of each row whether it has the fixed bits of `template`, and copies fields of all rows, each to an array of its
 * own. `spans` are the parts of a row that have fixed bits, `fields` those that are copied: first byte, byte after the
 * last. The caller has seen to it that both lie within the shortest row.
 */
int read_rows(const unsigned char *const *buffers, const int64_t *sizes, int64_t count, const int64_t *buffer,
              const int64_t *start, const int64_t *length, int64_t rows, const unsigned char *template,
              const unsigned char *bits, const int64_t *spans, int64_t span_count, const int64_t *fields,
              int64_t field_count, unsigned char *const *found, unsigned char *same)
{
    int64_t row, part, at;

    if (!lie_inside(sizes, count, buffer, start, length, rows))
        return -1;
    for (row = 0; row < rows; row++) {
        const unsigned char *octets = buffers[buffer[row]] + start[row];
        unsigned char differs = 0;

        for (part = 0; part < span_count; part++)
            for (at = spans[2 * part]; at < spans[2 * part + 1]; at++)
                differs |= (unsigned char)((octets[at] ^ template[at]) & bits[at]);
        same[row] = !differs;
        for (part = 0; part < field_count; part++) {
            size_t size = (size_t)(fields[2 * part + 1] - fields[2 * part]);
            memcpy(found[part] + (size_t)row * size, octets + fields[2 * part], size);
        }
    }
    return 0;
}
