/* The table of words: hashing with open addressing. Included by _words.c alone. */

#ifndef WORDS_TABLE_H
#define WORDS_TABLE_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define START 1024 /* slots of a new table, a power of two */

typedef struct {
    uint32_t hash;
    int32_t word; /* -1: free */
} Slot;

typedef struct {
    uint64_t row; /* the last row that named it, counted through all calls */
    uint64_t call;
    int32_t entry;  /* its place in that row */
    int32_t column; /* in that call */
} Term;

typedef struct {
    PyObject_HEAD
    Slot *slots;
    size_t mask;
    char *letters; /* all words, one after the other */
    size_t letters_room;
    size_t *starts; /* of each word in letters, and the end */
    size_t starts_room;
    int32_t n;
    Term *terms;
    size_t n_terms;
    uint64_t rows, calls;
    uint64_t seed;  /* of the hash: nobody can write texts whose words all collide */
    uint8_t *kinds; /* of the characters of plain texts */
    size_t n_kinds;
    char *units; /* in lower case, a space before and after each */
} Words;

/* Makes an empty table; -1 without memory. */
static int table_made(Words *self)
{
    self->slots = malloc(START * sizeof *self->slots);
    self->letters_room = 16 * START;
    self->letters = malloc(self->letters_room);
    self->starts_room = START;
    self->starts = malloc(self->starts_room * sizeof *self->starts);
    if (!self->slots || !self->letters || !self->starts)
        return -1;
    memset(self->slots, 255, START * sizeof *self->slots);
    self->mask = START - 1;
    self->starts[0] = 0;
    return 0;
}

/* Twice as many slots. */
static int widen(Words *self)
{
    size_t mask = 2 * self->mask + 1;
    Slot *slots = malloc((mask + 1) * sizeof *slots);
    if (!slots)
        return -1;
    memset(slots, 255, (mask + 1) * sizeof *slots);
    for (size_t i = 0; i <= self->mask; i++) {
        if (self->slots[i].word < 0)
            continue;
        size_t place = self->slots[i].hash & mask;
        while (slots[place].word >= 0)
            place = (place + 1) & mask;
        slots[place] = self->slots[i];
    }
    free(self->slots);
    self->slots = slots;
    self->mask = mask;
    return 0;
}

/* Takes in a word that is not there; returns its number, or -1 without memory. */
static int32_t learn(Words *self, const char *word, size_t size, uint32_t hash, size_t place)
{
    size_t start = self->starts[self->n];
    if (self->n == INT32_MAX)
        return -1;
    if (start + size > self->letters_room) {
        char *letters = realloc(self->letters, 2 * self->letters_room);
        if (!letters)
            return -1;
        self->letters = letters;
        self->letters_room *= 2;
    }
    if ((size_t)self->n + 2 > self->starts_room) {
        size_t *starts = realloc(self->starts, 2 * self->starts_room * sizeof *starts);
        if (!starts)
            return -1;
        self->starts = starts;
        self->starts_room *= 2;
    }
    memcpy(self->letters + start, word, size);
    self->starts[self->n + 1] = start + size;
    self->slots[place] = (Slot){hash, self->n};
    self->n++;
    if (2 * (size_t)self->n > self->mask && widen(self) < 0) {
        /* a table more than half full is right, if slow; a full one would never end */
        if ((size_t)self->n >= self->mask)
            return -1;
    }
    return self->n - 1;
}

static int32_t number(Words *self, const char *word, size_t size, uint32_t hash)
{
    size_t place = hash & self->mask;
    for (;; place = (place + 1) & self->mask) {
        Slot slot = self->slots[place];
        if (slot.word < 0)
            return learn(self, word, size, hash, place);
        if (slot.hash != hash)
            continue;
        size_t start = self->starts[slot.word];
        if (self->starts[slot.word + 1] - start == size &&
            memcmp(self->letters + start, word, size) == 0)
            return slot.word;
    }
}

/* One byte array of n numbers, or NULL. */
static void *numbers_made(PyObject **made, Py_ssize_t n)
{
    *made = PyByteArray_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(int32_t));
    return *made ? PyByteArray_AsString(*made) : NULL;
}

#endif
