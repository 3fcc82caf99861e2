/* SHA-256 of many rows of a few buffers: a loop around a library's own functions, which come in as pointers.
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

int hash_rows(const unsigned char *const *buffers, const int64_t *sizes, int64_t count, const int64_t *buffer,
              const int64_t *start, const int64_t *length, int64_t rows, const unsigned char *prefix,
              int64_t prefix_length, unsigned char *digests, init_function init, update_function update,
              final_function final)
{
    state fresh, now;
    int64_t row;

    for (row = 0; row < rows; row++) {
        if (buffer[row] < 0 || buffer[row] >= count || start[row] < 0 || length[row] < 0)
            return -1;
        if (start[row] > sizes[buffer[row]] || length[row] > sizes[buffer[row]] - start[row])
            return -1;
    }
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
