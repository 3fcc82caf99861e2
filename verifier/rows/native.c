/* SHA-256 of many rows of one buffer: a loop around a library's own functions, which come in as pointers.
 *
 * A row that does not lie in the buffer is refused (-1) before anything is read; the caller checks as well.
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

int hash_rows(const unsigned char *data, int64_t size, const int64_t *start, const int64_t *length, int64_t rows,
              const unsigned char *prefix, int64_t prefix_length, unsigned char *digests, init_function init,
              update_function update, final_function final)
{
    state fresh, now;
    int64_t row;

    for (row = 0; row < rows; row++)
        if (start[row] < 0 || start[row] > size || length[row] < 0 || length[row] > size - start[row])
            return -1;
    memset(&fresh, 0, sizeof fresh);
    if (!init(&fresh) || !update(&fresh, prefix, (size_t)prefix_length))
        return -2;
    for (row = 0; row < rows; row++) {
        now = fresh;
        if (!update(&now, data + start[row], (size_t)length[row]) || !final(digests + 32 * row, &now))
            return -2;
    }
    return 0;
}
